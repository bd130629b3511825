"""Figures and previews for TensorBoard, by a stand-in and, where it is installed, by itself."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.training.common.launch import started
from lipsync_cli.training.mini.autoencoder import AutoencoderRecipe
from lipsync_cli.training.mini.points import PointsRecipe
from lipsync_cli.training.mini.recipe import MiniRecipe
from lipsync_cli.training.mini.run import MiniRun, train_pictures


class Recorder:
    """Stands in for SummaryWriter."""

    def __init__(self, folder: str) -> None:
        Path(folder).mkdir(parents=True)
        self.scalars: list[tuple] = []
        self.images: list[tuple] = []
        self.closed = False
        Recorder.last = self

    def add_scalar(self, *row) -> None:
        self.scalars.append(row)

    def add_image(self, tag, pixels, step, dataformats) -> None:
        self.images.append((tag, pixels.shape, pixels.dtype, step, dataformats))

    def close(self) -> None:
        self.closed = True


def test_board_gets_figures_and_previews_of_a_run(prepared, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Recorder))
    phase = AutoencoderRecipe(crop_size=32, steps=2, sequences=1, targets=1, references=2, save_every=2)
    recipe = MiniRecipe(autoencoder=(phase,), points=PointsRecipe(steps=1, clips=1, frames=2))
    with started("cpu", board=tmp_path / "board") as runtime:
        run = MiniRun(prepared, tmp_path / "runs", recipe, lambda line: None, runtime=runtime)
        train_pictures(run, run.clips("train"))
    tags = {tag for tag, _, _ in Recorder.last.scalars}
    assert {"autoencoder-32/l1", "autoencoder-32/norm", "points/loss"} <= tags
    assert Recorder.last.images == [("autoencoder-32/preview", (1152, 1152, 3), np.uint8, 2, "HWC")]
    assert Recorder.last.closed


def test_board_without_tensorboard_names_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    wanted = pytest.raises(EnvironmentProblem, match="needs the package tensorboard")
    with wanted as caught, started("cpu", board=tmp_path):
        pass
    assert "pip install tensorboard" in caught.value.hint


def test_board_writes_what_tensorboard_reads(tmp_path):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with started("cpu", board=tmp_path) as runtime:
        runtime.board.figures("causal", 4, {"loss": 0.25})
        runtime.board.picture("adversarial", 9, np.zeros((4, 6, 3), np.uint8))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("causal/loss")] == [(4, 0.25)]
    assert [(e.step, e.width, e.height) for e in events.Images("adversarial/preview")] == [(9, 6, 4)]
