"""``lipsync train``: from a folder of talking clips to weights that ``dub`` can load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_table, stderr
from lipsync_cli.core.errors import UsageError

if TYPE_CHECKING:
    from lipsync_cli.training.common.runtime import Runtime

SCHEMA = 1

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train models on your own clips.")

Data = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with clips of talking people.")]
Prepared = Annotated[Path, typer.Option("--prepared", metavar="DIR", help="Where the prepared crops are.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where checkpoints, logs and previews go.")]
ModelFolder = Annotated[Path, typer.Option("--model", metavar="DIR", help="Model folder that gets the weights.")]
Recipe = Annotated[
    str, typer.Option("--recipe", metavar="NAME|FILE", help="What each stage does: a file of presets/train.")
]
Minutes = Annotated[float | None, typer.Option("--minutes", min=0.01, help="Stop each stage after so many minutes.")]
Start = Annotated[
    str | None,
    typer.Option("--start", metavar="NAME|DIR", help="Begin with the networks of this model.", show_default=False),
]
Seconds = Annotated[float, typer.Option("--seconds-per-speaker", min=1, help="Use at most so much of one speaker.")]
Split = Annotated[str, typer.Option("--split", metavar="train|val|test", help="Part of the prepared clips.")]
CropSize = Annotated[int, typer.Option("--crop-size", min=64, max=512, help="Side of the crops in pixels: 192, 256.")]
Megabytes = Annotated[
    float | None,
    typer.Option("--max-megabytes", min=0.1, help="Choose clips that fit in so much, all speakers alike."),
]
LimitsFile = Annotated[Path | None, typer.Option("--limits", metavar="FILE", help="Thresholds of the filters, TOML.")]
Device = Annotated[
    str,
    typer.Option("--device", metavar="auto|cpu|cuda|cuda:N", help="Where to train; auto is cuda where there is one."),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="auto|float32|bfloat16",
        help="What networks compute in: auto is float32, on CUDA with TF32 products; weights stay float32.",
    ),
]
Board = Annotated[
    bool, o.flag("--tensorboard", help="Also write figures and previews for TensorBoard, into RUNS/tensorboard.")
]
OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="The network's file. Default: RUNS/stable_syncnet.pt.", show_default=False
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that read clips.")]


@app.command()
def prepare(
    data: Data,
    prepared: Prepared = Path("runs/prepared"),
    crop_size: CropSize = 192,
    max_megabytes: Megabytes = None,
    seconds_per_speaker: Seconds = 100.0,
    limits: LimitsFile = None,
    workers: Workers = 2,
    as_json: o.Json = False,
) -> None:
    """Cut, align, check and measure talking clips for training: every video of DIR, or those DIR/clips.csv lists.

    Columns, all but the first optional: path, split, speaker, licence, duration_s, sync_lag_frames. Resumes where it
    stopped; other limits or another size are then a matter of seconds. See report.png.
    """
    from lipsync_cli.cli.progress import progress
    from lipsync_cli.training.dataset.limits import load_limits
    from lipsync_cli.training.dataset.prepare import PrepareOptions
    from lipsync_cli.training.dataset.prepare import prepare as run

    if crop_size % 16:
        raise UsageError(f"The crop size must be a multiple of 16, got {crop_size}.", hint="Use 192 or 256.")
    options = PrepareOptions(crop_size, seconds_per_speaker, max_megabytes, workers, load_limits(limits))
    with progress(None, None, doing="Preparing") as on_progress:
        summary = run(data, prepared, options, on_progress)
    if as_json:
        emit_json({"schema": SCHEMA, "prepared": str(prepared), **summary})
        return
    say = stderr().print
    for path, note in summary["sources_without_clips"].items():
        say(f"left out {path}: {note}", highlight=False)
    for reason, count in summary["clips_left_out"].items():
        say(f"left out {count} clips: {reason}", highlight=False)
    chosen = summary["chosen"]
    say(
        f"{chosen['clips']} clips of {chosen['speakers']} speakers, {chosen['minutes']:.1f} min, "
        f"{chosen['megabytes']:.1f} MB in {prepared}; see {prepared / 'report.png'}",
        highlight=False,
    )


@app.command("mini")
def train_mini(
    prepared: Prepared = Path("runs/prepared"),
    recipe: Recipe = "mini",
    runs: Runs = Path("runs/mini"),
    model: ModelFolder = Path("models/lip-forcing-mini"),
    start: Start = None,
    minutes: Minutes = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tensorboard: Board = False,
) -> None:
    """Train every stage of lip-forcing-mini on prepared clips and write its weights. Resumes where it stopped.

    On several GPUs: accelerate launch -m lipsync_cli train mini …, or torchrun likewise. Processes share the batches
    of the recipe, whose sizes must be multiples of their number.
    """
    from lipsync_cli.training.common.launch import started
    from lipsync_cli.training.mini.recipe import load_recipe
    from lipsync_cli.training.mini.run import Run, train_all

    chosen = load_recipe(recipe)
    with started(device, dtype, board=runs / "tensorboard" if tensorboard else None) as runtime:
        train_all(Run(prepared, runs, chosen, _say(runtime), minutes, runtime, start), model)


@app.command("omnisync")
def train_omnisync(
    prepared: Prepared = Path("runs/prepared"),
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="NAME|FILE", help="What is trained: a file of presets/omnisync.")
    ] = "miniature",
    runs: Runs = Path("runs/omnisync"),
    model: ModelFolder = Path("models/my-omnisync"),
    minutes: Minutes = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tensorboard: Board = False,
) -> None:
    """Train a mask-free OmniSync transformer on prepared clips and write a model folder. Resumes where it stopped.

    On several GPUs: accelerate launch -m lipsync_cli train omnisync …, or torchrun likewise.
    """
    from lipsync_cli.training.common.launch import started
    from lipsync_cli.training.omnisync.run import OmniSyncRun
    from lipsync_cli.training.omnisync.run import train_omnisync as run
    from lipsync_cli.training.omnisync.stage import load_omnisync_recipe

    chosen = load_omnisync_recipe(recipe)
    with started(device, dtype, board=runs / "tensorboard" if tensorboard else None) as runtime:
        run(OmniSyncRun(prepared, runs, chosen, _say(runtime), minutes, runtime), model)


@app.command("sync")
def train_sync(
    prepared: Prepared = Path("runs/prepared"),
    runs: Runs = Path("runs/sync"),
    model: ModelFolder = Path("models/sync-mini"),
    minutes: Minutes = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tensorboard: Board = False,
) -> None:
    """Train the sync expert of lipsync eval on prepared clips and write its weights. Resumes where it stopped.

    On several GPUs: accelerate launch -m lipsync_cli train sync …, or torchrun likewise.
    """
    from lipsync_cli.training.common.launch import started
    from lipsync_cli.training.sync.run import train_sync as run
    from lipsync_cli.training.sync.stage import SyncRecipe

    with started(device, dtype, board=runs / "tensorboard" if tensorboard else None) as runtime:
        run(prepared, runs, model, SyncRecipe(), minutes=minutes, say=_say(runtime), runtime=runtime)


def _say(runtime: Runtime) -> Callable[[str], None]:
    """Of several processes one speaks."""
    return stderr().print if runtime.is_main else lambda line: None


@app.command("stable-sync")
def train_stable_sync(
    prepared: Prepared = Path("runs/prepared"),
    runs: Runs = Path("runs/stable-sync"),
    out: OutFile = None,
    config: Annotated[
        str, typer.Option("--config", metavar="16_pixel_attn|16_pixel|25_pixel|small", help="Which network.")
    ] = "16_pixel_attn",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of the whole run.")] = 100_000,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Pairs a step; below 256 it may never learn.")] = 256,
    at_once: Annotated[
        int, typer.Option("--at-once", min=1, help="Pairs in memory; gradients of a step's are added up.")
    ] = 16,
    learning_rate: Annotated[float, typer.Option("--learning-rate", min=1e-8, max=0.1, help="Constant.")] = 1e-5,
    apart: Annotated[
        int, typer.Option("--apart", min=1, help="Frames between a picture and sound that is not its own, at least.")
    ] = 1,
    save_every: Annotated[int, typer.Option("--save-every", min=1, help="Steps between checkpoints.")] = 2500,
    checkpointing: Annotated[
        bool, o.flag("--checkpointing", help="Compute blocks again for the gradient: slower, less memory.")
    ] = False,
    minutes: Minutes = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tensorboard: Board = False,
) -> None:
    """Train StableSyncNet, LatentSync's sync supervisor, on prepared clips. Resumes where it stopped.

    The file is as the public one, for lipsync eval --stable-sync. On several GPUs: accelerate launch -m lipsync_cli
    train stable-sync …, or torchrun likewise.
    """
    from lipsync_cli.training.common.launch import started
    from lipsync_cli.training.sync.stable_run import train_stable_sync as run
    from lipsync_cli.training.sync.stable_stage import StableSyncRecipe

    recipe = StableSyncRecipe(
        config, steps, batch, at_once, learning_rate, apart, checkpointing=checkpointing, save_every=save_every
    )
    with started(device, dtype, board=runs / "tensorboard" if tensorboard else None) as runtime:
        file = out or runs / "stable_syncnet.pt"
        run(prepared, runs, file, recipe, minutes=minutes, say=_say(runtime), runtime=runtime)


@app.command("sync-check")
def check_sync(
    prepared: Prepared = Path("runs/prepared"),
    split: Split = "test",
    model: Annotated[str, typer.Option("--model", metavar="NAME|PATH", help="Expert to check.")] = "sync-mini",
    as_json: o.Json = False,
) -> None:
    """Say how well the sync expert tells matching from shifted sound on prepared clips it was not trained on."""
    from lipsync_cli.evaluation.measures.sync_mini import load_expert
    from lipsync_cli.training.sync.check import check_expert
    from lipsync_cli.training.sync.run import load_mouths

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
