"""Options that several ``lipsync train`` commands share, and what they start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import stderr
from lipsync_cli.core.resources import resource_folder

if TYPE_CHECKING:
    from lipsync_cli.training.common.loop import Report
    from lipsync_cli.training.common.runtime import Runtime

SCHEMA = 1
RECIPE_PANEL = "Recipe (defaults come from the recipe)"

Prepared = Annotated[Path, typer.Option("--prepared", metavar="DIR", help="Where the prepared crops are.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where checkpoints, logs and previews go.")]
ModelFolder = Annotated[Path, typer.Option("--model", metavar="DIR", help="Model folder that gets the weights.")]
Minutes = Annotated[float | None, typer.Option("--minutes", min=0.01, help="Stop each stage after so many minutes.")]
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
TensorBoard = Annotated[
    bool, o.flag("--tensorboard", help="Also write figures and previews for TensorBoard, into RUNS/tensorboard.")
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", metavar="N", help="Steps of the whole run.", rich_help_panel=RECIPE_PANEL),
]


def recipe(training: str) -> Any:
    """The option that names a recipe of ``lipsync train TRAINING``."""

    def complete(incomplete: str) -> list[str]:
        folder = resource_folder("presets") / "train" / training
        return sorted(path.stem for path in folder.glob("*.toml") if path.stem.startswith(incomplete))

    return typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help=f"What the training does: a file of presets/train/{training}, or one of your own.",
        autocompletion=complete,
        rich_help_panel=RECIPE_PANEL,
    )


def override(*names: str, help: str, metavar: str = "N") -> Any:
    """An option that replaces a number of the recipe, whose bounds are the recipe's."""
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=RECIPE_PANEL, show_default=False)


@contextmanager
def training_runtime(device: str, dtype: str, runs: Path, *, tensorboard: bool) -> Iterator[tuple[Runtime, Report]]:
    """What this process computes on, and where its lines for people go: of several processes one speaks."""
    from lipsync_cli.training.common.launch import started

    with started(device, dtype, board=runs / "tensorboard" if tensorboard else None) as runtime:
        yield runtime, stderr().print if runtime.is_main else _silent


def _silent(line: str) -> None:
    """Take a line and show nothing."""
