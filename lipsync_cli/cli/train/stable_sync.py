"""``lipsync train stable-sync``: StableSyncNet, LatentSync's sync supervisor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.cli.train import options as t

OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="The network's file. Default: RUNS/stable_syncnet.pt.", show_default=False
    ),
]
Config = Annotated[
    str | None, t.override("--config", metavar="16_pixel_attn|16_pixel|25_pixel|small", help="Which network.")
]
Batch = Annotated[int | None, t.override("--batch", help="Pairs a step; below 256 it may never learn.")]
AtOnce = Annotated[int | None, t.override("--at-once", help="Pairs in memory; gradients of a step's are added up.")]
Rate = Annotated[float | None, t.override("--learning-rate", metavar="R", help="Learning rate, constant.")]
Apart = Annotated[
    int | None, t.override("--apart", help="Frames between a picture and sound that is not its own, at least.")
]
SaveEvery = Annotated[int | None, t.override("--save-every", help="Steps between checkpoints.")]
Checkpointing = Annotated[
    bool | None,
    t.override(
        "--checkpointing/--no-checkpointing",
        metavar="",
        help="Compute blocks again for the gradient: slower, less memory.",
    ),
]


def train_stable_sync(
    prepared: t.Prepared = Path("runs/prepared"),
    recipe: Annotated[str, t.recipe("stable-sync")] = "latentsync",
    runs: t.Runs = Path("runs/stable-sync"),
    out: OutFile = None,
    config: Config = None,
    steps: t.Steps = None,
    batch: Batch = None,
    at_once: AtOnce = None,
    learning_rate: Rate = None,
    apart: Apart = None,
    save_every: SaveEvery = None,
    checkpointing: Checkpointing = None,
    minutes: t.Minutes = None,
    device: t.Device = "auto",
    dtype: t.Dtype = "auto",
    tensorboard: t.TensorBoard = False,
) -> None:
    """Train StableSyncNet, LatentSync's sync supervisor, on prepared clips. Resumes where it stopped.

    The file is as the public one, for lipsync eval --stable-sync. On several GPUs: accelerate launch -m lipsync_cli
    train stable-sync …, or torchrun likewise.
    """
    from lipsync_cli.training.stable_sync.run import train_stable_sync as run
    from lipsync_cli.training.stable_sync.stage import StableSyncRecipe

    chosen = StableSyncRecipe.load(
        recipe, config=config, steps=steps, batch=batch, at_once=at_once, learning_rate=learning_rate, apart=apart,
        save_every=save_every, checkpointing=checkpointing,
    )  # fmt: skip
    file = out or runs / "stable_syncnet.pt"
    with t.training_runtime(device, dtype, runs, tensorboard=tensorboard) as (runtime, report):
        run(prepared, runs, file, chosen, minutes=minutes, report=report, runtime=runtime)
