"""The sync expert over mouth states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.state_sync import SPAN, StateSync, confidence
from lipsync_cli.training.mini.state_sync import NEAR, StateSyncRecipe, state_sync_loss, train_state_sync
from tests.helpers.flow_batches import FRAMES, SMALL_FLOW, random_batch
from tests.helpers.small_stages import LATENT, states


def test_confidence_is_high_for_matching_lips_and_low_for_shifted_ones() -> None:
    m = 16
    agreement = torch.eye(m)[None] + 0.0
    shifted = torch.roll(agreement, 4, 2)
    assert float(confidence(agreement)) == pytest.approx(1.0)
    assert float(confidence(shifted)) == pytest.approx(0.0)


def test_state_sync_loss_leaves_neighbours_out() -> None:
    m = 12
    right = 5 * torch.eye(m)[None]
    beside = right.clone()
    index = torch.arange(m)
    gap = (index[:, None] - index[None]).abs()
    beside[0, (gap > 0) & (gap <= NEAR)] = 5
    temperature = torch.tensor(0.0)
    torch.testing.assert_close(state_sync_loss(right, temperature), state_sync_loss(beside, temperature))
    assert state_sync_loss(torch.roll(right, 5, 2), temperature) > state_sync_loss(right, temperature) + 1


def test_train_state_sync_changes_an_expert_of_unit_embeddings(tmp_path: Path) -> None:
    expert = StateSync(LATENT)
    lips, sound = expert.lips(random_batch().z), expert.sound(random_batch().audio)
    assert lips.shape == sound.shape == (3, FRAMES - SPAN + 1, 64)
    torch.testing.assert_close(lips.norm(dim=-1), torch.ones(3, FRAMES - SPAN + 1))
    moved = expert.lips(random_batch().z + 3.0)
    torch.testing.assert_close(lips, moved, rtol=1e-3, atol=1e-4)
    before = {key: value.clone() for key, value in expert.state_dict().items()}
    recipe = StateSyncRecipe(steps=2, batch=2, frames=(16,))
    train_state_sync(expert, CausalFlow(SMALL_FLOW), states(), recipe, tmp_path)
    assert any(not torch.equal(value, before[key]) for key, value in expert.state_dict().items())
