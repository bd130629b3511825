"""Frames of a video or a still picture: exact time stamps, native planes, RGB for analysis."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count
from typing import Self

import av

from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.core.pixel_formats import pixel_format
from lipsync_cli.core.types import Frame, MediaInfo
from lipsync_cli.media.color import RGB_COLOR, RgbConverter, color_info
from lipsync_cli.media.decode import Decoder, Picture
from lipsync_cli.media.lazy_rgb import LazyRgbConverter
from lipsync_cli.media.ping_pong import bounced
from lipsync_cli.media.pixels import decoded_format, planes_of
from lipsync_cli.media.probe import require_video


def open_frames(
    info: MediaInfo,
    *,
    start: Fraction | None = None,
    end: Fraction | None = None,
    still_duration: Fraction | None = None,
    bounce_until: Fraction | None = None,
    cut_at: Fraction | None = None,
    with_rgb: bool = True,
    lazy_rgb: bool = False,
) -> FrameSource:
    """The frames of ``info.video`` with ``start <= time < end``, in seconds after the stream's first frame.

    ``bounce_until``: when the frames end before that many seconds after the first *delivered* frame, they go on
    backward, then forward, and so on, at the source's own spacing. ``cut_at``: they end before that many seconds
    after it. A still picture gives frames at 25 per second for ``still_duration`` (or ``bounce_until``) seconds.
    ``lazy_rgb``: frames have a view that makes RGB where it is looked at, for those who look at little. Use as a
    context manager; see FrameSource.
    """
    video = require_video(info)
    if start is not None and end is not None and end <= start:
        raise UsageError(f"The end ({float(end):g} s) must come after the start ({float(start):g} s).")
    if video.is_still:
        length = still_duration if still_duration is not None else bounce_until
        if length is None:
            raise UsageError(f"{info.path.name} is a still picture, so its duration must be given.")
        return FrameSource(info, Part(until=length, cut_at=cut_at), with_rgb, lazy_rgb)
    return FrameSource(info, Part(start, end, bounce_until, cut_at), with_rgb, lazy_rgb)


@dataclass(frozen=True, slots=True)
class Part:
    """Which frames are delivered: ``start`` and ``end`` are seconds after the stream's first frame.

    ``until``, to which the picture is extended, and ``cut_at`` are seconds after the first delivered one.
    """

    start: Fraction | None = None
    end: Fraction | None = None
    until: Fraction | None = None
    cut_at: Fraction | None = None


class FrameSource:
    """An iterator of Frame and a context manager that closes the file.

    ``index`` counts delivered frames from 0; ``pts`` are the file's own, strictly increasing, in ``time_base``, and
    ``Frame.time`` counts from the first delivered frame. ``delivered`` says how many there were.
    Raises InputError when no frame can be decoded, none lies in the wanted part, or the picture changes its size.
    ``warnings`` says, in sentences, what was skipped or mended so far. Held: one frame, and what the codec holds
    (32 more frames while bouncing).
    """

    def __init__(
        self,
        info: MediaInfo,
        part: Part,
        with_rgb: bool,
        lazy_rgb: bool,
    ) -> None:
        self.delivered = 0
        self._media, self._video, self._part = info, require_video(info), part
        self._format = pixel_format(decoded_format(self._video))
        self._color = RgbConverter(self._video.color)
        self._rgb = (LazyRgbConverter(self._video.color).lazy if lazy_rgb else self._color.rgb) if with_rgb else None
        self._decoder = Decoder(info.path, self._video)
        self._first_pts: int | None = None
        self._frames = self._deliver()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame = next(self._frames)
        self.delivered += 1
        return frame

    def close(self) -> None:
        """Stop reading and close the file. Safe to call twice."""
        self._frames.close()
        self._decoder.__exit__()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was skipped, mended or missing, one sentence each; complete once all frames are read."""
        name, decoder = self._media.path.name, self._decoder
        warnings = []
        if decoder.damaged:
            warnings.append(f"{decoder.damaged} damaged packets of {name} were skipped.")
        if decoder.mended:
            warnings.append(f"{decoder.mended} missing or backward time stamps of {name} were replaced.")
        if decoder.cut_short:
            warnings.append(f"{name} ends too early ({decoder.cut_short}); the readable part is used.")
        return tuple(warnings)

    def _deliver(self) -> Generator[Frame, None, None]:
        for frame in self._still() if self._video.is_still else self._moving():
            if self._part.cut_at is not None and frame.time >= self._part.cut_at:
                return
            yield frame

    def _still(self) -> Iterator[Frame]:
        picture = next(self._decoder.pictures(), None)
        if picture is None:
            raise self._nothing()
        frame = self._frame(Picture(0, picture.frame), 0)
        for index in count():
            if index * frame.time_base >= (self._part.until or 0):
                return
            yield replace(frame, index=index, pts=index)

    def _moving(self) -> Iterator[Frame]:
        before_last = last = 0
        for picture in self._wanted():
            before_last, last = last, picture.pts
            yield self._frame(picture, picture.pts)
        first = self._first_pts
        if first is None:
            raise self._nothing()
        if self._part.until is not None:
            step = last - before_last if last > first else max(1, round(1 / (self._video.rate * self._time_base)))
            yield from self._extension(first, last, step)

    def _wanted(self) -> Iterator[Picture]:
        origin, unit = self._video.start, self._time_base
        start, end = self._part.start, self._part.end
        lowest = None if not start else -((-(origin + start)) // unit)
        for picture in self._decoder.pictures(lowest):
            if end is not None and picture.pts * unit - origin >= end:
                return
            yield picture

    def _extension(self, first: int, last: int, step: int) -> Iterator[Frame]:
        assert self._part.until is not None
        shown, pts = last, last
        for picture in bounced(self._decoder, first, last):
            # The gap between neighbours is the same in both directions.
            pts += abs(picture.pts - shown) or step
            shown = picture.pts
            if (pts - first) * self._time_base >= self._part.until:
                return
            yield self._frame(picture, pts)

    @property
    def _time_base(self) -> Fraction:
        return self._video.time_base

    def _frame(self, picture: Picture, pts: int) -> Frame:
        frame = self._native(picture.frame)
        rgb = self._rgb(frame) if self._rgb else None
        first = self._first_pts = pts if self._first_pts is None else self._first_pts
        planes = planes_of(frame, self._format)
        return Frame(self.delivered, pts, self._time_base, planes, self._format.name, rgb, first)

    def _native(self, frame: av.VideoFrame) -> av.VideoFrame:
        if not self._video.is_still:
            same = frame.format.name == self._format.name
            return frame if same else self._color.convert(frame, self._format.name)
        # By way of RGB, because swscale changes matrices only there.
        shown = RgbConverter(color_info(frame)).convert(frame, "rgb24", full_range=True)
        return RgbConverter(RGB_COLOR).convert(
            shown, self._format.name, full_range=False, matrix=self._video.color.matrix
        )

    def _nothing(self) -> InputError:
        name = self._media.path.name
        start = self._part.start
        if start and self._video.duration is not None and not self._decoder.damaged:
            return InputError(
                f"No frame of {name} lies between the start ({float(start):g} s) and the end asked for; "
                f"it lasts {float(self._video.duration):.2f} s.",
                hint="Choose an earlier --start.",
            )
        return InputError(f"No frame of {name} can be decoded.", hint="The file is damaged; get it again.")
