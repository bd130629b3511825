"""From prepared clips to the weights of ``sync-mini``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from lipsync_cli import hub
from lipsync_cli.core.errors import InputError
from lipsync_cli.evaluation.measures.sync_mini import KIND, VERSION
from lipsync_cli.nn.sync.sync_mini import SyncMini
from lipsync_cli.training.common.export import WEIGHTS, export
from lipsync_cli.training.common.loop import Report, deadline_in
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.sync.check import SyncCheck, check_expert
from lipsync_cli.training.sync.data import SyncClip, cut_mouths
from lipsync_cli.training.sync.stage import SyncRecipe, train_expert


def train_sync(
    data: Path,
    runs: Path,
    model: Path,
    recipe: SyncRecipe,
    *,
    minutes: float | None = None,
    report: Report,
    runtime: Runtime = ALONE,
) -> Path:
    """Train on ``data`` (prepared) under ``runs`` and export to ``model``; returns the weights' path.

    Every save is measured on the val split. Of several processes the main one measures, reports and writes. Raises
    InputError when the folder holds no usable clips, UsageError when the processes cannot share a batch.
    """
    runtime.check_batch(recipe.clips, "clips")
    clips, held_out = load_mouths(data, "train", frames=recipe.frames), load_mouths(data, "val", frames=0)
    report(f"{sum(len(clip.mouths) for clip in clips)} mouths of {len(clips)} clips")

    def on_save(expert: SyncMini, step: int) -> None:
        report(f"step {step}: {describe(check_expert(expert, held_out))}")

    expert = train_expert(clips, recipe, runs, on_save=on_save, deadline=deadline_in(minutes), runtime=runtime)
    if not runtime.is_main:
        return model / WEIGHTS
    card = hub.ModelCard(name=KIND, version=VERSION, kind=KIND, summary="A sync expert of your own.")
    path = export(expert, model, card, role="expert", source="lipsync train sync")
    (runs / "val.json").write_text(json.dumps(asdict(check_expert(expert, held_out)), indent=1) + "\n")
    report(f"wrote {path}")
    return path


def load_mouths(data: Path, split: str, *, frames: int) -> list[SyncClip]:
    """The mouths of a prepared split; InputError unless one clip has at least ``frames`` of them."""
    clips = cut_mouths(load_clips(data, split))
    if not any(len(clip.mouths) >= max(frames, 24) for clip in clips):
        raise InputError(
            f"{data} has no clip of {max(frames, 24)} frames in its {split} split.",
            hint="Add clips of talking people.",
        )
    return clips


def describe(check: SyncCheck) -> str:
    """A check in one line."""
    return (
        f"{check.clips} clips, windows {check.window_accuracy:.3f} right and {check.window_order:.3f} in order, "
        f"clips {check.clip_order:.3f} in order; offset of {check.offset_clips} clips off by "
        f"{check.offset_mean_error:.2f} frames, exact in {check.offset_exact:.3f}, within one in "
        f"{check.offset_within_one:.3f}"
    )
