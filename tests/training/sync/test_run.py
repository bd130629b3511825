"""From prepared clips to the weights of sync-mini."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.core.errors import InputError, ModelError
from lipsync_cli.evaluation.measures.sync_mini import ExpertMeter, load_expert
from lipsync_cli.training.sync.run import load_mouths, train_sync
from lipsync_cli.training.sync.stage import SyncRecipe
from tests.helpers.paths import ROOT


def test_train_sync_writes_weights_that_evaluation_loads(prepared: Path, tmp_path: Path, monkeypatch) -> None:
    model = tmp_path / "model"
    model.mkdir()
    card = (ROOT / "models" / "sync-mini" / "model.toml").read_text()
    (model / "model.toml").write_text(card)
    said: list[str] = []
    recipe = SyncRecipe(steps=1, clips=2, frames=20, save_every=1)
    train_sync(prepared, tmp_path / "runs", model, recipe, report=said.append)
    assert any(line.startswith("step 1: 1 clips") for line in said)
    loaded = load_expert(model)
    crops = np.random.default_rng(0).integers(0, 256, (18, 192, 192, 3), dtype=np.uint8)
    meter = ExpertMeter(loaded)
    for crop in crops:
        meter.add(crop)
    assert meter.finish()[0].embeddings.shape == (3, 256)
    weights = model / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match="damaged"):
        load_expert(model)


def test_load_mouths_without_long_enough_clips_is_an_input_error(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prepared clips"):
        load_mouths(tmp_path, "train", frames=28)
    with pytest.raises(InputError, match="no clip of 28 frames"):
        load_mouths(prepared, "train", frames=28)
