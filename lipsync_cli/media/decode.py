"""Pictures of one stream in presentation order, from any point of the file, with damage survived and counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import av
import av.error

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.types import VideoInfo
from lipsync_cli.media.pixels import nearest_supported, without_j
from lipsync_cli.media.probe import opened


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame as PyAV holds it, with the time stamp that counts (in the stream's time base)."""

    pts: int
    frame: av.VideoFrame


class Decoder:
    """Reads the pictures of one video stream, again and again if asked. A context manager.

    Time stamps strictly increase: missing or backward ones are replaced by the frame spacing and counted in
    ``mended``. Packets that cannot be decoded are left out and counted in ``damaged``; a file that ends too early
    sets ``cut_short``. Only the first reading counts. Held: what the codec holds.
    """

    def __init__(self, path: Path, info: VideoInfo) -> None:
        self.path, self.info = path, info
        self.damaged = 0
        self.mended = 0
        self.cut_short = ""
        self._passes = 0
        self._stack = ExitStack()
        self._step = max(1, round(1 / (info.rate * info.time_base)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def pictures(self, start: int | None = None) -> Iterator[Picture]:
        """All pictures with ``pts >= start``, or all there are. Ends any earlier iteration.

        The pictures are the same, whether read from the beginning or from a later start.
        """
        if start is None:
            yield from self._from_beginning()
            return
        found = self.since_keyframe(start)
        yield from (picture for picture in found if picture.pts >= start)

    def since_keyframe(self, pts: int) -> Iterator[Picture]:
        """Pictures from a key frame at or before ``pts`` on, or from the beginning if that is the only way.

        Pictures shown before the key frame but stored after it are left out: they may refer to what was not read.
        """
        # Mended stamps exist only in the order they were made in, so such a file is always read from its start.
        back = 0 if not self.mended else None
        while back is not None and pts - back > round(self.info.start / self.info.time_base):
            pictures = self._seek(pts - back)
            first = next(pictures, None)
            if first is not None and first.pts <= pts:
                yield first
                yield from pictures
                return
            back = max(4 * back, round(2 / self.info.time_base))
        yield from self._from_beginning()

    def _open(self) -> tuple[av.container.InputContainer, av.VideoStream]:
        self._stack.close()
        self._passes += 1
        container = self._stack.enter_context(opened(self.path))
        stream = container.streams[self.info.index]
        assert isinstance(stream, av.VideoStream)
        stream.thread_type = "AUTO"
        if self._passes == 1 and _reaches_beyond(stream, container.size):
            self.cut_short = "its index names data after the end"
        return container, stream

    def _from_beginning(self) -> Iterator[Picture]:
        container, stream = self._open()
        last: int | None = None
        for frame in self._decode(container, stream):
            pts = frame.pts if frame.pts is not None else frame.dts
            if pts is None or (last is not None and pts <= last):
                self.mended += self._passes == 1
                pts = 0 if last is None else last + self._step
            last = pts
            yield Picture(pts, frame)

    def _seek(self, pts: int) -> Iterator[Picture]:
        container, stream = self._open()
        try:
            container.seek(pts, stream=stream, backward=True)
        except av.error.FFmpegError:
            return
        key: list[int] = []
        for frame in self._decode(container, stream, key):
            if frame.pts is not None and key and frame.pts >= key[0]:
                yield Picture(frame.pts, frame)

    def _decode(
        self, container: av.container.InputContainer, stream: av.VideoStream, key: list[int] | None = None
    ) -> Iterator[av.VideoFrame]:
        """Frames in presentation order; the pts of the first key frame met is put into ``key``."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                self.cut_short = error.strerror or str(error)
                packet = None
            if key is not None and not key and packet is not None and packet.is_keyframe and packet.pts is not None:
                key.append(packet.pts)
            for frame in self._frames(stream, packet):
                self._check(frame)
                yield frame
            if packet is None:
                return

    def _frames(self, stream: av.VideoStream, packet: av.Packet[av.VideoStream] | None) -> list[av.VideoFrame]:
        try:
            return stream.decode(packet)
        except av.error.EOFError:
            return []  # already flushed by the demuxer's closing packet
        except av.error.FFmpegError:
            self.damaged += self._passes == 1
            return []

    def _check(self, frame: av.VideoFrame) -> None:
        info = self.info
        same = nearest_supported(without_j(frame.format.name)) == nearest_supported(without_j(info.pix_fmt))
        if (frame.width, frame.height) == (info.width, info.height) and same:
            return
        at = "" if frame.pts is None else f" at {float(frame.pts * info.time_base - info.start):.2f} s"
        raise InputError(
            f"The picture of {self.path.name} changes{at} from {info.width}×{info.height} {info.pix_fmt} to "
            f"{frame.width}×{frame.height} {frame.format.name}; one size and format is expected throughout.",
            hint="Bring it to one size with an editor or ffmpeg first, or dub the parts with --start and --end.",
        )


def _reaches_beyond(stream: av.VideoStream, size: int) -> bool:
    """Whether the container's index places the last picture behind the end of the file."""
    entries: Any = getattr(stream, "index_entries", ())
    return bool(len(entries)) and 0 < size < entries[-1].pos + entries[-1].size
