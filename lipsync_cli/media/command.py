"""The one ffmpeg command that encodes the picture and brings all tracks together. Pure: values in, words out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import ffmpeg as graph

from lipsync_cli.core.types import VideoInfo
from lipsync_cli.media.containers import Container
from lipsync_cli.media.encode import Arguments, VideoEncoding, color_arguments
from lipsync_cli.media.tracks import TrackPlan

_ROTATION_SINCE = (6,)


@dataclass(frozen=True, slots=True)
class MuxCommand:
    """All that the command depends on. ``time_base`` is the one the frames arrive in."""

    executable: str
    version: tuple[int, ...]
    container: Container
    target: str
    video: VideoInfo
    encoding: VideoEncoding
    time_base: Fraction
    dub: TrackPlan | None = None
    source: TrackPlan | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    live: bool = False

    @property
    def rotates(self) -> bool:
        """Whether ffmpeg writes the display matrix itself."""
        return self.video.rotation != 0 and self.version >= _ROTATION_SINCE

    def words(self) -> list[str]:
        """The argument list."""
        streams = [graph.input("pipe:0", **self._pipe_options())["v:0"]]
        # Different options keep an input that is used twice two inputs, so that each has a number of its own.
        for number, plan in enumerate(plan for plan in (self.dub, self.source) if plan is not None):
            options = {**plan.before, "thread_queue_size": str(64 + number)}
            source = graph.input(f"file:{plan.path.absolute()}", **options)
            streams += [source[selector] for selector in plan.selectors]
        command: list[str] = graph.compile(
            graph.output(*streams, self.target, **self._output_options()), cmd=self.executable
        )
        quiet = ["-hide_banner", "-nostdin", "-y", "-loglevel", "error", "-nostats", "-progress", "pipe:2"]
        return [command[0], *quiet, *command[1:-1], *self._metadata_words(), command[-1]]

    def _pipe_options(self) -> Arguments:
        options: dict[str, str | None] = {"format": "nut", **color_arguments(self.video.color, self.encoding.piped)}
        if self.live:
            options |= {"probesize": "32", "analyzeduration": "0"}
        if self.rotates:
            # The matrix counts counter-clockwise; ffmpeg must pass it on instead of turning the picture.
            options |= {"display_rotation:v:0": str(-self.video.rotation), "noautorotate": None}
        return options  # type: ignore[return-value]

    def _output_options(self) -> Arguments:
        container, video = self.container, self.video
        shape = video.sample_aspect_ratio * Fraction(video.width, video.height)
        options = {
            "format": container.muxer,
            "enc_time_base:v": f"{self.time_base.numerator}:{self.time_base.denominator}",
            "max_muxing_queue_size": "4096",
            "map_metadata": "-1",
            "map_chapters": "-1",
            **({"fps_mode:v": "passthrough"} if self.version >= (5, 1) else {"vsync": "passthrough"}),
            **({"aspect": f"{shape.numerator}:{shape.denominator}"} if video.sample_aspect_ratio != 1 else {}),
            **self._muxer_options(),
            **self.encoding.arguments,
        }
        for plan in (self.dub, self.source):
            options |= plan.output if plan is not None else {}
        return options

    def _muxer_options(self) -> Arguments:
        container = self.container
        options = container.muxer_options(self.metadata, live=self.live)
        if container.timescale_option:
            options[container.timescale_option] = str(_timescale(self.time_base))
        if self.live:
            # A dub that ends early would hold everything back for ten seconds otherwise.
            options |= {"flush_packets": "1", "max_interleave_delta": "200000"}
        return options

    def _metadata_words(self) -> list[str]:
        words = []
        for key, value in self.metadata.items():
            words += ["-metadata", f"{key}={value}"]
        if self.language and self.dub is not None:
            words += ["-metadata:s:a:0", f"language={self.language}"]
        return words


def _timescale(time_base: Fraction) -> int:
    """Ticks per second of a track in which every pts is whole; fine enough for the edit list, too."""
    return time_base.denominator * -(-10_000 // time_base.denominator)
