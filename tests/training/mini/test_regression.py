"""The regression that the flow is compared with: it says the mean, hears no chance, and becomes a model folder."""

from __future__ import annotations

from dataclasses import replace
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
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.protocol import CropChunk, MelSpan
from lipsync_cli.training.common.runtime import ALONE
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.mini import causal
from lipsync_cli.training.mini.causal import CausalRecipe, flow_loss
from lipsync_cli.training.mini.latents import FlowBatch, LatentClip
from tests.helpers.tiny_mini import CONFIG, make_folder, make_networks

LATENT, FRAMES, CHUNK = CONFIG.latent, 20, CONFIG.chunk
RECIPE = causal.regression(CausalRecipe())
RNG = np.random.default_rng(0)


def a_flow() -> CausalFlow:
    return make_networks(seed=3).flow


def a_speaker() -> Speaker:
    return Speaker(a_flow(), RECIPE.schedule, (RECIPE.noise,))


def a_clip() -> LatentClip:
    return LatentClip(
        torch.from_numpy(RNG.normal(size=(FRAMES, LATENT)).astype(np.float32)),
        RNG.normal(size=(2 * MEL_MARGIN + 4 * FRAMES, 80)).astype(np.float32),
        RNG.uniform(60, 130, (FRAMES, 68, 2)).astype(np.float32),
        "a",
    )


def a_batch() -> FlowBatch:
    generator = torch.Generator().manual_seed(5)
    shapes = (3, FRAMES, LATENT), (3, FRAMES, 32, 80), (3, 2, LATENT)
    return FlowBatch(*(torch.randn(shape, generator=generator) for shape in shapes))


@torch.no_grad()
def test_its_loss_is_the_squared_error_of_what_it_says_about_states_it_does_not_see() -> None:
    network, batch, recipe = a_flow(), a_batch(), replace(RECIPE, context_noise=0.0)
    losses = [float(flow_loss(network, batch, recipe, ALONE.noise(seed))) for seed in (0, 1)]
    assert losses[0] == losses[1], "there is no chance in it"
    # Chunk by chunk with the true past, as it would be spoken.
    audio, said = network.audio(batch.audio), []
    cache = network.begin(batch.references)
    for first in range(0, FRAMES, CHUNK):
        part = slice(first, first + CHUNK)
        nothing = torch.zeros(3, CHUNK, LATENT)
        said.append(-network.predict(nothing, torch.ones(3, CHUNK), audio[:, part], cache))
        network.commit(batch.z[:, part], audio[:, part], cache)
    assert losses[0] == pytest.approx(float((torch.cat(said, 1) - batch.z).pow(2).mean()), rel=1e-5)


@torch.no_grad()
def test_it_says_the_same_whatever_the_seed() -> None:
    clip, speaker = a_clip(), a_speaker()
    references = clip.z[:3]
    spoken = [
        causal.rollout_clip(speaker.network, clip, references, (1.0,), temperature=(0.0,), seed=s) for s in (0, 1)
    ]
    assert torch.equal(*spoken)
    assert torch.equal(spoken[0], speaker(clip, references))
    others = [causal.rollout_clip(speaker.network, clip, references, (1.0,), seed=seed) for seed in (0, 1)]
    assert not torch.equal(*others), "with noise the seed has something to say"


def test_a_speaker_becomes_a_model_folder_that_draws_as_before_but_speaks_as_it_does(tmp_path: Path) -> None:
    like = hub.load_card(make_folder(tmp_path / "tiny", schedule=[0.999, 0.65], temperature=[1.0, 0.5]))  # type: ignore[arg-type]
    write_model("regression", a_speaker(), like, make_networks(), tmp_path / "baseline")
    card = hub.load_card(tmp_path / "baseline")
    assert card.name == "regression" and [check.state for check in hub.verify(card)] == ["ok"]
    config = read_config(card.generator, model=card.name)
    assert (config.schedule, config.temperature) == ((1.0,), (0.0,))
    assert config.model_copy(update={"schedule": (0.999, 0.65), "temperature": (1.0, 0.5)}) == read_config(
        like.generator, model="tiny"
    )
    generator, shipped = load_model(card), load_model(like)
    spoken, drawn = zip(*[_dub(generator, seed) for seed in (0, 1)], strict=True)
    assert torch.equal(*spoken) and np.array_equal(*drawn), "no seed"
    assert not torch.equal(*[_dub(shipped, seed)[0] for seed in (0, 1)])
    for part in ("encoder", "renderer"):
        states = [getattr(made.networks, part).state_dict() for made in (generator, shipped)]
        assert all(torch.allclose(states[0][key], states[1][key], atol=1e-3) for key in states[1])
    with pytest.raises(FileExistsError):
        write_model("regression", a_speaker(), like, make_networks(), tmp_path / "baseline")


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
