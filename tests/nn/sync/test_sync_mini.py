"""sync-mini: its size, its windows, its cosines."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lipsync_cli.nn.sync.sync_mini import SyncMini, mouth_windows
from tests.helpers.small_stages import SMALL_SYNC


@pytest.fixture(scope="module")
def expert() -> SyncMini:
    torch.manual_seed(0)
    return SyncMini(SMALL_SYNC).eval()


def test_sync_mini_is_within_what_a_reward_may_cost() -> None:
    network = SyncMini().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) <= 1.5e6
    operations = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal operations
        # Two for each weight at each place of the output; a linear layer's weights are used once a row.
        places = output.numel() // output.shape[1 if output.dim() > 2 and not isinstance(layer, nn.Linear) else -1]
        operations += 2 * places * layer.weight.numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(torch.rand(1, 16, 48, 80), torch.rand(1, 64, 80))
    assert 0.1e9 < operations <= 0.15e9


@settings(max_examples=8)
@given(st.integers(16, 24), st.integers(0, 8))
def test_sync_mini_embeds_a_window_alone_as_within_the_clip(frames: int, at: int) -> None:
    torch.manual_seed(0)
    network = SyncMini(SMALL_SYNC).eval()
    mouths, mel = torch.rand(1, frames, 48, 80), torch.randn(1, 4 * frames, 80)
    at = min(at, frames - 16)
    picture, sound = network.picture(mouths), network.sound(mel)
    assert picture.shape == sound.shape == (1, frames - 15, 24)
    torch.testing.assert_close(network.picture(mouths[:, at : at + 16])[0, 0], picture[0, at], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network.sound(mel[:, 4 * at : 4 * at + 64])[0, 0], sound[0, at], atol=1e-5, rtol=1e-4)


def test_sync_mini_cosines_are_probabilities_with_gradients_on_the_mouth(expert: SyncMini) -> None:
    crops = torch.rand(1, 17, 3, 96, 96, requires_grad=True)
    cosine = expert(mouth_windows(crops), torch.randn(1, 68, 80))
    assert cosine.shape == (1, 2)
    assert (cosine >= 0).all() and (cosine <= 1 + 1e-6).all()
    cosine.sum().backward()
    assert crops.grad is not None
    moved = crops.grad.abs().sum((0, 1, 2))
    assert moved[40:70, 20:76].sum() > 0
    assert moved[:30].sum() == 0 and moved[80:].sum() == 0


def test_mouth_windows_are_the_same_part_at_every_size() -> None:
    large = torch.zeros(2, 3, 256, 256)
    large[:, :, 96:192, 48:208] = 1
    for size in (96, 192, 256):
        crop = torch.nn.functional.interpolate(large, (size, size), mode="area")
        assert mouth_windows(crop).shape == (2, 48, 80)
        assert mouth_windows(crop).min() > 0.99
    assert mouth_windows(large, margin=1).shape == (2, 64, 96)
    assert mouth_windows(large, margin=1)[:, :7].max() < 0.5
    with pytest.raises(ValueError, match="multiple of 16"):
        mouth_windows(torch.zeros(1, 3, 100, 100))
