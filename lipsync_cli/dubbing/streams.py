"""The ends of a dub's path: the frames and the sound that it reads, and the sink that it writes to."""

from __future__ import annotations

from pathlib import Path

from lipsync_cli import __version__
from lipsync_cli.core.types import ModelSpec
from lipsync_cli.dubbing.plan import DubPlan
from lipsync_cli.media.audio import SpeechSource, open_speech
from lipsync_cli.media.mux import FrameSink
from lipsync_cli.media.tracks import DubTrack, SourceTracks
from lipsync_cli.media.video import FrameSource, open_frames


def open_source(plan: DubPlan) -> FrameSource:
    """The frames that are dubbed, in order, the picture extended or cut to the dub where that was asked for."""
    return open_frames(
        plan.video,
        start=plan.request.start,
        end=plan.request.end,
        still_duration=plan.length.duration if plan.stream.is_still else None,
        bounce_until=plan.length.duration if plan.length.extend_picture else None,
        cut_at=plan.length.duration if plan.length.cut_picture else None,
        lazy_rgb=True,
    )


def open_sound(plan: DubPlan) -> SpeechSource:
    """The sound that the model gets."""
    return open_speech(plan.audio, start=plan.request.start, end=plan.request.end)


def open_sink(plan: DubPlan, spec: ModelSpec) -> FrameSink:
    """Where frames and sound go."""
    request, length = plan.request, plan.length
    cut = length.duration if length.cut_audio or request.end is not None else None
    return FrameSink(
        plan.target,
        plan.video,
        dub=DubTrack(plan.audio, start=plan.start, duration=cut),
        source=SourceTracks(plan.video, start=plan.start, duration=length.duration) if request.keep else None,
        options=plan.encoding,
        tags=_tags(plan, spec) | request.tags,
        container=plan.container,
    )


def _tags(plan: DubPlan, spec: ModelSpec) -> dict[str, str]:
    """What the result says of how it was made."""
    card, adapter = plan.picture.card, spec.details.get("adapter")
    model = f"{card.name} {card.version} {card.sha256[:12]}".strip()
    tags = {"lipsync": __version__, "lipsync_model": model, "lipsync_preset": plan.request.preset}
    if adapter is not None:
        tags["lipsync_adapter"] = f"{Path(adapter['file']).name} {adapter['sha256'][:12]}"
    return tags
