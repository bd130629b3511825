"""The comparison of recipes: what generates speech like a row becomes a model folder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.ablations import Speaker, write_model
from lipsync_cli import hub
from lipsync_cli.core.types import Alignment, Crop
from lipsync_cli.engines.loading import load_model
from lipsync_cli.engines.mini.config import read_config
from lipsync_cli.engines.protocol import CropChunk, MelSpan
from lipsync_cli.training.mini import causal
from lipsync_cli.training.mini.causal import CausalRecipe
from tests.helpers.tiny_mini import make_folder, make_networks

RECIPE = causal.regression(CausalRecipe())


def a_speaker() -> Speaker:
    return Speaker(make_networks(seed=3).flow, RECIPE.schedule, (RECIPE.noise,))


def test_write_model_draws_as_before_and_speaks_as_the_speaker(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "tiny", schedule=[0.999, 0.65], temperature=[1.0, 0.5])
    base = hub.load_card(folder)
    write_model("regression", a_speaker(), base, make_networks(), tmp_path / "baseline")
    card = hub.load_card(tmp_path / "baseline")
    assert card.name == "regression" and [check.state for check in hub.verify(card)] == ["ok"]
    config = read_config(card.generator, model=card.name)
    assert (config.schedule, config.temperature) == ((1.0,), (0.0,))
    assert config.model_copy(update={"schedule": (0.999, 0.65), "temperature": (1.0, 0.5)}) == read_config(
        base.generator, model="tiny"
    )
    generator, shipped = load_model(card), load_model(base)
    states, pictures = zip(*[_dub(generator, seed) for seed in (0, 1)], strict=True)
    assert torch.equal(*states) and np.array_equal(*pictures), "no seed"
    assert not torch.equal(*[_dub(shipped, seed)[0] for seed in (0, 1)])
    for part in ("encoder", "renderer"):
        states = [getattr(made.networks, part).state_dict() for made in (generator, shipped)]
        assert all(torch.allclose(states[0][key], states[1][key], atol=1e-3) for key in states[1])
    with pytest.raises(FileExistsError):
        write_model("regression", a_speaker(), base, make_networks(), tmp_path / "baseline")


def _dub(generator, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """States and pictures of eight frames."""
    rng = np.random.default_rng(1)
    alignment = Alignment(np.array([[1.0, 0, 0], [0, 1, 0]]), 64)
    crops = [
        Crop(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), alignment, rng.uniform(0, 64, (68, 2)))
        for _ in range(8)
    ]
    mel = MelSpan(rng.normal(0, 1, (200, 80)).astype(np.float32), -60)
    state = generator.begin(crops[:5], Fraction(0), seed=seed)
    times = tuple(Fraction(index, 25) for index in range(8))
    drawings = list(generator.step(state, CropChunk(tuple(crops), times, mel, np.zeros(8, np.float32))))
    return state.z.clone(), np.stack([drawing.rgb for drawing in drawings])
