"""``lipsync train mini``: the embedded model, lip-forcing-mini."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.train import options as t

Start = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="NAME|DIR",
        help="Begin with the networks of this model.",
        show_default=False,
        autocompletion=o.complete_models,
    ),
]


def train_mini(
    prepared: t.Prepared = Path("runs/prepared"),
    recipe: Annotated[str, t.recipe("mini")] = "mini",
    runs: t.Runs = Path("runs/mini"),
    model: t.ModelFolder = Path("models/lip-forcing-mini"),
    start: Start = None,
    minutes: t.Minutes = None,
    device: t.Device = "auto",
    dtype: t.Dtype = "auto",
    tensorboard: t.TensorBoard = False,
) -> None:
    """Train every stage of lip-forcing-mini on prepared clips and write its weights. Resumes where it stopped.

    On several GPUs: accelerate launch -m lipsync_cli train mini …, or torchrun likewise. Processes share the batches
    of the recipe, whose sizes must be multiples of their number.
    """
    from lipsync_cli.training.mini.recipe import MiniRecipe
    from lipsync_cli.training.mini.run import MiniRun, train_all

    chosen = MiniRecipe.load(recipe)
    with t.training_runtime(device, dtype, runs, tensorboard=tensorboard) as (runtime, report):
        train_all(MiniRun(prepared, runs, chosen, report, minutes, runtime, start), model)
