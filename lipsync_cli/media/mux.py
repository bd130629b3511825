"""The result: frames encoded once, the dub and other tracks beside them, in place only when complete."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lipsync_cli.core.errors import OutputError
from lipsync_cli.core.pixel_formats import pixel_format
from lipsync_cli.core.types import Frame, MediaInfo, Plane
from lipsync_cli.media.command import MuxCommand
from lipsync_cli.media.containers import Container, container_for
from lipsync_cli.media.encode import EncodeOptions, choose_encoding
from lipsync_cli.media.ffmpeg import FfmpegProcess, find_ffmpeg
from lipsync_cli.media.nut import NutWriter
from lipsync_cli.media.output import STDOUT, PartialFile, check_tags
from lipsync_cli.media.pixels import decoded_format, doubled_chroma
from lipsync_cli.media.probe import require_video
from lipsync_cli.media.tracks import DubTrack, SourceTracks, harmless_metadata, plan_dub, plan_source


class ReaderLeft(Exception):
    """Whoever read stdout has closed it. FrameSink turns it into a clean end; nobody else needs to catch it."""


class FrameSink:
    """Writes frames, and the tracks beside them, to a file or to stdout. A context manager.

    On a clean exit the file is flushed and renamed from ``NAME.part``; on any error or interrupt the partial file is
    removed and ffmpeg ended. When the reader of stdout goes away, ``write`` ends the ``with`` block without an error
    and ``reader_left`` is set. A frame is shown at its ``time``, so that its source's first one is at second 0.

    ``media`` is the source: its picture's format, colours, shape and rotation are kept, and with ``source`` its other
    tracks. ``container`` is chosen by the target's name if not given. ``tags`` go into the container's metadata.
    Raises UsageError, EnvironmentProblem (on entering or before) and OutputError. ``warnings`` says what could not be
    kept. Held: one frame, and what the encoder holds.
    """

    def __init__(
        self,
        target: Path | str,
        media: MediaInfo,
        *,
        dub: DubTrack | None = None,
        source: SourceTracks | None = None,
        options: EncodeOptions | None = None,
        tags: Mapping[str, str] | None = None,
        container: Container | None = None,
    ) -> None:
        self.reader_left = False
        self.frames_written = 0
        self._ffmpeg = find_ffmpeg()
        self._live = str(target) == STDOUT
        self._container = container or container_for(target)
        self._video = require_video(media)
        self._options = options or EncodeOptions()
        self._encoding = choose_encoding(self._ffmpeg, self._container, self._video, self._options)
        self._format = pixel_format(decoded_format(self._video))
        self._partial = None if self._live else PartialFile(Path(target))
        uneven = self._container.variable_rate
        self._time_base = self._video.time_base if uneven else 1 / self._video.rate
        self._process: FfmpegProcess | None = None
        self._command = self._plan(media, dub, source, dict(tags or {}))
        self._nut: NutWriter | None = None

    def _plan(
        self, media: MediaInfo, dub: DubTrack | None, source: SourceTracks | None, tags: dict[str, str]
    ) -> MuxCommand:
        check_tags(tags)
        dubbed = dub is not None
        return MuxCommand(
            executable=str(self._ffmpeg.path),
            version=self._ffmpeg.version,
            container=self._container,
            target="pipe:1" if self._partial is None else f"file:{self._partial.path.absolute()}",
            video=self._video,
            encoding=self._encoding,
            time_base=self._time_base,
            dub=plan_dub(self._ffmpeg, self._container, dub) if dub else None,
            source=plan_source(self._ffmpeg, self._container, source, 1 + int(dubbed), dubbed) if source else None,
            metadata=tags if source else {**harmless_metadata(media.metadata), **tags},
            language=None if dub is None else dub.language,
            live=self._live,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be kept as it was in the source, one sentence each."""
        warnings = list(self._encoding.warnings)
        warnings += self._command.source.warnings if self._command.source else ()
        if self._video.rotation and not self._keeps_rotation():
            warnings.append(
                f"The rotation of {self._video.rotation}° cannot be kept in this output; the picture lies as stored."
            )
        if not self._container.variable_rate:
            rate = f"{float(self._video.rate):g}"
            warnings.append(
                f"{self._container.name} files have one frame rate, so {rate} frames are shown per second."
            )
        if self.reader_left:
            warnings.append(f"Whoever read stdout left after {self.frames_written} frames; the rest was not made.")
        return tuple(warnings)

    def _keeps_rotation(self) -> bool:
        container = self._container
        return container.rotation and (self._command.rotates or (bool(container.write_rotation) and not self._live))

    @property
    def command(self) -> tuple[str, ...]:
        """The ffmpeg command that is run."""
        return tuple(self._command.words())

    @property
    def pid(self) -> int | None:
        """Process id of the running encoder."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        video = self._video
        self._nut = NutWriter(video.width, video.height, self._encoding.piped, self._time_base, video.rate)
        self._process = FfmpegProcess(self._command.words(), stdout=None if self._live else subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, ReaderLeft):
            self._abort()
            return True
        try:
            if error is None:
                self._finish()
        finally:
            self._abort()
        return False

    def write(self, frame: Frame) -> None:
        """Encode one frame. Its pts must be later than the last one's.

        Raises OutputError when ffmpeg has failed, and ReaderLeft (which ends the ``with`` block) when nobody reads
        stdout any more.
        """
        if self._nut is None:
            raise ValueError("frames can only be written inside the with block")
        data = self._nut.frame(self._planes(frame), self._pts(frame))
        self._send(data)
        self.frames_written += 1

    def _planes(self, frame: Frame) -> tuple[Plane, ...]:
        shapes = self._format.shapes(self._video.width, self._video.height)
        if frame.pix_fmt != self._format.name or tuple(plane.shape for plane in frame.planes) != shapes:
            raise ValueError(f"expected {self._format.name} planes of {shapes}, got {frame!r}")
        if any(plane.dtype != self._format.dtype for plane in frame.planes):
            raise ValueError(f"expected {self._format.dtype.__name__} planes, got {frame.planes[0].dtype}")
        grown = pixel_format(self._encoding.piped).chroma != self._format.chroma
        return doubled_chroma(frame.planes, self._format) if grown else frame.planes

    def _pts(self, frame: Frame) -> int:
        if not self._container.variable_rate:
            return self.frames_written
        if frame.time_base != self._time_base:
            raise ValueError(f"expected pts in units of {self._time_base} s, got {frame.time_base}")
        return frame.pts - frame.first_pts

    def _send(self, data: bytes) -> None:
        assert self._process is not None
        try:
            self._process.write(data)
        except OutputError as error:
            raise self._reason(error) from error

    def _reason(self, error: OutputError) -> Exception:
        if self._live and self._process is not None and self._process.reader_left:
            self.reader_left = True
            return ReaderLeft()
        return error

    def _finish(self) -> None:
        assert self._process is not None and self._nut is not None
        if not self.frames_written:
            raise OutputError("There was no frame to write, so no output was made.")
        try:
            self._process.write(self._nut.close())
            self._process.finish()
        except OutputError as error:
            if isinstance(self._reason(error), ReaderLeft):
                return
            raise
        if self._process.frames != self.frames_written:
            raise OutputError(
                f"ffmpeg wrote {self._process.frames} of {self.frames_written} frames.",
                hint="Please report this with the output of lipsync doctor.",
            )
        if self._partial is not None:
            if self._video.rotation and not self._command.rotates and self._container.write_rotation:
                self._container.write_rotation(self._partial.path, self._video.rotation)
            self._partial.commit()

    def _abort(self) -> None:
        """Let go of everything; after a clean end there is nothing left to let go of."""
        if self._process is not None:
            self._process.kill()
        if self._nut is not None:
            with suppress(Exception):
                self._nut.close()
        if self._partial is not None:
            self._partial.discard()
