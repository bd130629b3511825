"""The causal flow: its statistics, its stage, and the regression that it is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.engines.mini.config import MiniConfig
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.flow_backbone import FlowConfig
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.training.common.runtime import ALONE
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.mini import causal
from lipsync_cli.training.mini.autoencoder import Autoencoder
from lipsync_cli.training.mini.causal import CausalRecipe, flow_loss
from lipsync_cli.training.mini.latents import (
    LatentClip,
    encode_clips,
)
from tests.helpers.flow_batches import random_batch
from tests.helpers.tiny_mini import CONFIG, make_networks
from tests.helpers.weights import assert_same, stop_training, weights_of

LATENT, FRAMES, CHUNK = CONFIG.latent, 20, CONFIG.chunk
RECIPE = causal.regression(CausalRecipe())


def test_train_causal_resumes_to_the_bit(prepared: Path, tmp_path: Path) -> None:
    config = MiniConfig.model_validate({"width": 16, "layers": 2, "heads": 2, "window": 8}).flow()
    torch.manual_seed(1)
    encoder = Autoencoder().encoder.eval()
    states = encode_clips(encoder, load_clips(prepared, "train"))
    recipe = CausalRecipe(steps=4, batch=2, frames=(8, 16), save_every=2)

    def train(folder: Path, *, stop: bool = False) -> dict[str, torch.Tensor]:
        network = causal.new_network(config, states, encoder)
        if stop:
            with pytest.raises(KeyboardInterrupt):
                causal.train_causal(network, states, recipe, folder, on_save=stop_training)
            network = causal.new_network(config, states, encoder, seed=9)
        return weights_of(causal.train_causal(network, states, recipe, folder))

    assert_same(train(tmp_path / "whole"), train(tmp_path / "parts", stop=True))


def test_fit_normalisation_liberty_is_small_where_people_differ_and_large_where_one_moves():
    """Speakers differ in dimension 0 only and move in dimension 1 only; dimension 2 does both alike."""
    rng = np.random.default_rng(0)
    people = []
    for number in range(30):
        z = rng.normal(0, [0.01, 1.0, 1.0], (60, 3)) + rng.normal(0, [1.0, 0.0, 1.0], (1, 3))
        states = torch.from_numpy(z.astype(np.float32))
        people.append(LatentClip(states, np.zeros((0, 80)), np.zeros((0, 68, 2)), f"s{number}"))
    torch.manual_seed(0)
    flow = CausalFlow(FlowConfig(3, 16, 1, 2, chunk=4, window=8))
    causal.fit_normalisation(flow, people, MouthEncoder(3).eval())
    liberty = flow.liberty.diagonal()
    assert liberty[0] < 0.02 and liberty[1] > 0.98
    assert float(liberty[2]) == pytest.approx(1 / (1 + causal.IDENTITY_ERROR), abs=0.05)


def a_clip() -> LatentClip:
    rng = np.random.default_rng(0)
    return LatentClip(
        torch.from_numpy(rng.normal(size=(FRAMES, LATENT)).astype(np.float32)),
        rng.normal(size=(2 * MEL_MARGIN + 4 * FRAMES, 80)).astype(np.float32),
        rng.uniform(60, 130, (FRAMES, 68, 2)).astype(np.float32),
        "a",
    )


@torch.no_grad()
def test_regression_loss_is_the_squared_error_of_its_prediction() -> None:
    network, batch = make_networks(seed=3).flow, random_batch(frames=FRAMES, latent=LATENT)
    recipe = RECIPE.replaced(context_noise=0.0)
    losses = [float(flow_loss(network, batch, recipe, ALONE.noise(seed))) for seed in (0, 1)]
    assert losses[0] == losses[1], "there is no chance in it"
    # Chunk by chunk with the true past, as the rollout goes.
    audio, predicted = network.audio(batch.audio), []
    cache = network.begin(batch.references)
    for first in range(0, FRAMES, CHUNK):
        part = slice(first, first + CHUNK)
        nothing = torch.zeros(3, CHUNK, LATENT)
        predicted.append(-network.predict(nothing, torch.ones(3, CHUNK), audio[:, part], cache))
        network.commit(batch.z[:, part], audio[:, part], cache)
    assert losses[0] == pytest.approx(float((torch.cat(predicted, 1) - batch.z).pow(2).mean()), rel=1e-5)


@torch.no_grad()
def test_regression_rollout_is_the_same_whatever_the_seed() -> None:
    clip, network = a_clip(), make_networks(seed=3).flow
    references = clip.z[:3]
    states = [causal.rollout_clip(network, clip, references, (1.0,), temperature=(0.0,), seed=s) for s in (0, 1)]
    assert torch.equal(*states)
    others = [causal.rollout_clip(network, clip, references, (1.0,), seed=seed) for seed in (0, 1)]
    assert not torch.equal(*others), "with noise the seed has something to say"
