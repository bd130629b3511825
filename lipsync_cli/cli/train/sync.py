"""``lipsync train sync`` and ``sync-check``: the sync expert of ``lipsync eval``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_table
from lipsync_cli.cli.train import options as t

Split = Annotated[str, typer.Option("--split", metavar="train|val|test", help="Part of the prepared clips.")]
Expert = Annotated[str, typer.Option("--model", metavar="NAME|PATH", help="Expert to check.")]


def train_sync(
    prepared: t.Prepared = Path("runs/prepared"),
    recipe: Annotated[str, t.recipe("sync")] = "sync-mini",
    runs: t.Runs = Path("runs/sync"),
    model: t.ModelFolder = Path("models/sync-mini"),
    steps: t.Steps = None,
    minutes: t.Minutes = None,
    device: t.Device = "auto",
    dtype: t.Dtype = "auto",
    tensorboard: t.TensorBoard = False,
) -> None:
    """Train the sync expert of lipsync eval on prepared clips and write its weights. Resumes where it stopped.

    On several GPUs: accelerate launch -m lipsync_cli train sync …, or torchrun likewise.
    """
    from lipsync_cli.training.sync.run import train_sync as run
    from lipsync_cli.training.sync.stage import SyncRecipe

    chosen = SyncRecipe.load(recipe, steps=steps)
    with t.training_runtime(device, dtype, runs, tensorboard=tensorboard) as (runtime, report):
        run(prepared, runs, model, chosen, minutes=minutes, report=report, runtime=runtime)


def check_sync(
    prepared: t.Prepared = Path("runs/prepared"),
    split: Split = "test",
    model: Expert = "sync-mini",
    as_json: o.Json = False,
) -> None:
    """Say how well the sync expert tells matching from shifted sound on prepared clips it was not trained on."""
    from lipsync_cli.evaluation.measures.sync_mini import load_expert
    from lipsync_cli.training.sync.check import check_expert
    from lipsync_cli.training.sync.run import load_mouths

    expert = load_expert(model)
    check = asdict(check_expert(expert, load_mouths(prepared, split, frames=0)))
    if as_json:
        emit_json({"schema": t.SCHEMA, "split": split, **check})
        return
    rows = (
        (name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else str(value))
        for name, value in check.items()
    )
    emit_table(("figure", split), rows)
