"""The latency ledger: what each stage waits for before it gives its first frame, from what stages declare."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lipsync_cli.dubbing.chunk_grid import frames_per_chunk, frames_to_begin
from lipsync_cli.dubbing.report import LedgerEntry
from lipsync_cli.engines.protocol import LipSyncModel
from lipsync_cli.settings import DubSettings

STAGES = ("decode", "track", "select", "crop", "generate", "composite", "encode")


def latency_ledger(settings: DubSettings, generator: LipSyncModel[Any], rate: Fraction) -> tuple[LedgerEntry, ...]:
    """Entries in the order of the stages; ``frames`` at the video's ``rate``, their sum is the total wait.

    References and the first chunk overlap: a segment begins when there are enough frames for both.
    """
    spec = generator.spec
    first, _ = frames_per_chunk(spec, rate)
    begin = max(frames_to_begin(spec, settings.reference_frames), first)
    waits = [
        ("track look-ahead", settings.lookahead_frames),
        ("references and first chunk", begin),
        ("hand-over fade", max(0, settings.fade_frames - begin + first)),
    ]
    entries = [LedgerEntry(stage, frames, float(frames / rate)) for stage, frames in waits]
    ahead = spec.audio_after_s
    return (*entries, LedgerEntry("audio look-ahead", 0, float(ahead)))
