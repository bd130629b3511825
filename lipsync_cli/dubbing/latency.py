"""Latency: what each stage waits for before it gives its first frame, from what stages declare."""

from __future__ import annotations

from fractions import Fraction

from lipsync_cli.core.types import ModelSpec
from lipsync_cli.dubbing.chunk_grid import frames_per_chunk, frames_to_begin
from lipsync_cli.dubbing.report import LatencyEntry
from lipsync_cli.settings import DubSettings


def latency_entries(settings: DubSettings, spec: ModelSpec, rate: Fraction) -> tuple[LatencyEntry, ...]:
    """Entries in the order of the stages; ``frames`` at the video's ``rate``, their sum is the total wait.

    References and the first chunk overlap: a segment begins when there are enough frames for both.
    """
    first, _ = frames_per_chunk(spec, rate)
    begin = max(frames_to_begin(spec, settings.reference_frames), first)
    waits = [
        ("track look-ahead", settings.lookahead_frames),
        ("references and first chunk", begin),
        ("hand-over fade", max(0, settings.fade_frames - begin + first)),
    ]
    entries = [LatencyEntry(stage, frames, float(frames / rate)) for stage, frames in waits]
    return (*entries, LatencyEntry("audio look-ahead", 0, float(spec.audio_after_s)))
