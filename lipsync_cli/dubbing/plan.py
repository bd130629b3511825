"""A dub that was looked up and planned, and the ends of its path: what it reads and what it writes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipsync_cli import __version__, hub
from lipsync_cli.core.timeline import LengthPlan
from lipsync_cli.core.types import MediaInfo, ModelSpec, VideoInfo
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.media.audio import open_speech
from lipsync_cli.media.encode import EncodeOptions
from lipsync_cli.media.mux import FrameSink
from lipsync_cli.media.output import STDOUT
from lipsync_cli.media.tracks import DubTrack, KeptTracks
from lipsync_cli.media.video import open_frames


@dataclass(frozen=True, slots=True)
class Job:
    """A request with everything looked up that can be known before frames flow."""

    request: DubRequest
    card: hub.ModelCard
    video: MediaInfo
    audio: MediaInfo
    stream: VideoInfo
    length: LengthPlan
    device: str

    @property
    def start(self) -> Fraction:
        """Seconds into both inputs at which the result begins."""
        return self.request.start or Fraction(0)

    @property
    def frames_expected(self) -> int:
        """About how many frames there will be, for progress."""
        return max(1, round(self.length.duration * self.stream.rate))


def open_source(job: Job) -> Any:
    """The frames that are dubbed, in order, the picture extended where the dub is longer."""
    extend = job.length.duration if job.length.extend_picture else None
    return open_frames(
        job.video,
        start=job.request.start,
        end=job.request.end,
        still_duration=job.length.duration if job.stream.is_still else None,
        bounce_until=extend,
        lazy_rgb=True,
    )


def open_sound(job: Job) -> Any:
    """The sound as the model hears it."""
    return open_speech(job.request.audio, start=job.request.start, end=job.request.end)


def open_sink(job: Job, spec: ModelSpec) -> FrameSink:
    """Where frames and sound go, stdout without an output."""
    request, settings = job.request, job.request.settings
    target = STDOUT if request.output is None else request.output
    live = request.output is None
    cut = job.length.duration if job.length.cut_audio or request.end is not None else None
    return FrameSink(
        target,
        job.video,
        dub=DubTrack(request.audio, start=job.start, duration=cut),
        kept=KeptTracks(request.video, start=job.start, duration=job.length.duration) if request.keep else None,
        options=EncodeOptions(
            codec=settings.codec,
            crf=settings.crf,
            preset=settings.encoder_preset,
            pix_fmt=settings.pix_fmt,
            low_latency=live,
        ),
        tags=_tags(job, spec) | request.tags,
        container=request.container,
    )


def _tags(job: Job, spec: ModelSpec) -> dict[str, str]:
    """What the result says of how it was made."""
    card = job.card
    model = f"{card.name} {card.version} {card.sha256[:12]}".strip()
    tags = {"lipsync": __version__, "lipsync_model": model, "lipsync_preset": job.request.preset}
    adapter = spec.details.get("adapter")
    if adapter is not None:
        tags["lipsync_adapter"] = f"{Path(adapter['file']).name} {adapter['sha256'][:12]}"
    return tags
