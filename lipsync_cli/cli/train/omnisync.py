"""``lipsync train omnisync``: a mask-free OmniSync transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lipsync_cli.cli.train import options as t


def train_omnisync(
    prepared: t.Prepared = Path("runs/prepared"),
    recipe: Annotated[str, t.recipe("omnisync")] = "miniature",
    runs: t.Runs = Path("runs/omnisync"),
    model: t.ModelFolder = Path("models/my-omnisync"),
    minutes: t.Minutes = None,
    device: t.Device = "auto",
    dtype: t.Dtype = "auto",
    tensorboard: t.TensorBoard = False,
) -> None:
    """Train a mask-free OmniSync transformer on prepared clips and write a model folder. Resumes where it stopped.

    On several GPUs: accelerate launch -m lipsync_cli train omnisync …, or torchrun likewise.
    """
    from lipsync_cli.training.omnisync.run import OmniSyncRun
    from lipsync_cli.training.omnisync.run import train_omnisync as run
    from lipsync_cli.training.omnisync.stage import OmniSyncRecipe

    chosen = OmniSyncRecipe.load(recipe)
    with t.training_runtime(device, dtype, runs, tensorboard=tensorboard) as (runtime, report):
        run(OmniSyncRun(prepared, runs, chosen, report, minutes, runtime), model)
