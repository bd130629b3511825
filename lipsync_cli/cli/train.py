"""``lipsync train``: from a folder of talking clips to weights that ``dub`` can load."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_table, stderr

SCHEMA = 1

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train the embedded model on your own clips.")

Data = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with clips.csv and the clips it lists.")]
Prepared = Annotated[Path, typer.Option("--prepared", metavar="DIR", help="Where the prepared crops are.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where checkpoints, logs and previews go.")]
ModelFolder = Annotated[Path, typer.Option("--model", metavar="DIR", help="Model folder that gets the weights.")]
Recipe = Annotated[
    str, typer.Option("--recipe", metavar="NAME|FILE", help="What each stage does: a file of presets/train.")
]
Minutes = Annotated[float | None, typer.Option("--minutes", min=0.01, help="Stop each stage after so many minutes.")]
Seconds = Annotated[float, typer.Option("--seconds-per-speaker", min=1, help="Use at most so much of one speaker.")]
Split = Annotated[str, typer.Option("--split", metavar="train|val|test", help="Part of the prepared clips.")]
Workers = Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that read clips.")]


@app.command()
def prepare(
    data: Data,
    prepared: Prepared = Path("runs/prepared"),
    seconds_per_speaker: Seconds = 100.0,
    workers: Workers = 2,
    debug: o.Debug = False,
) -> None:
    """Cut aligned lower-face crops and log-mel rows from the clips listed in DIR/clips.csv.

    Columns: path, split, speaker, licence, duration_s, sync_lag_frames. Resumes where it stopped.
    """
    from lipsync_cli.train.prepare import prepare as run

    frames = clips = 0
    for record in run(data, prepared, seconds_per_speaker=seconds_per_speaker, workers=workers):
        clips, frames = clips + 1, frames + record.frames
        if record.note:
            stderr().print(f"left out {record.path}: {record.note}")
        elif clips % 50 == 0:
            stderr().print(f"{clips} clips, {frames} frames")
    stderr().print(f"{clips} clips, {frames} frames in {prepared}")


@app.command("mini")
def train_mini(
    prepared: Prepared = Path("runs/prepared"),
    recipe: Recipe = "mini",
    runs: Runs = Path("runs/mini"),
    model: ModelFolder = Path("models/lip-forcing-mini"),
    minutes: Minutes = None,
    debug: o.Debug = False,
) -> None:
    """Train every stage of lip-forcing-mini on prepared clips and write its weights. Resumes where it stopped."""
    from lipsync_cli.train.recipe import load_recipe
    from lipsync_cli.train.run import Run, train_all

    train_all(Run(prepared, runs, load_recipe(recipe), stderr().print, minutes), model)


@app.command("sync")
def train_sync(
    prepared: Prepared = Path("runs/prepared"),
    runs: Runs = Path("runs/sync"),
    model: ModelFolder = Path("models/sync-mini"),
    minutes: Minutes = None,
    debug: o.Debug = False,
) -> None:
    """Train the sync expert of lipsync eval on prepared clips and write its weights. Resumes where it stopped."""
    from lipsync_cli.train.sync import SyncRecipe
    from lipsync_cli.train.sync_run import train_sync as run

    run(prepared, runs, model, SyncRecipe(), minutes=minutes, say=stderr().print)


@app.command("sync-check")
def check_sync(
    prepared: Prepared = Path("runs/prepared"),
    split: Split = "test",
    model: Annotated[str, typer.Option("--model", metavar="NAME|PATH", help="Expert to check.")] = "sync-mini",
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Say how well the sync expert tells matching from shifted sound on prepared clips it was not trained on."""
    from lipsync_cli.eval.expert import load_expert
    from lipsync_cli.train.sync_check import check_expert
    from lipsync_cli.train.sync_run import load_mouths

    expert = load_expert(model)
    check = asdict(check_expert(expert, load_mouths(prepared, split, frames=0)))
    if as_json:
        emit_json({"schema": SCHEMA, "split": split, **check})
    else:
        rows = (
            (name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else str(value))
            for name, value in check.items()
        )
        emit_table(("figure", split), rows)
