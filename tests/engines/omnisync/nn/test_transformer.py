"""The OmniSync transformer, narrow and random: what it depends on, what it must not, and its neighbours."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.engines.omnisync.nn.config import OmniSyncSizes
from lipsync_cli.engines.omnisync.nn.pixel_codec import PixelCodec
from lipsync_cli.engines.omnisync.nn.transformer import OmniCondition, OmniSyncTransformer

SIZES = OmniSyncSizes(
    channels=3, width=24, feed_forward=32, layers=2, heads=2, audio_width=5, audio_tokens=4, text_width=7,
    time_frequencies=8,
)  # fmt: skip
FRAMES, SIDE = 3, (4, 6)


@pytest.fixture(scope="module")
def network() -> OmniSyncTransformer:
    torch.manual_seed(0)
    made = OmniSyncTransformer(SIZES).eval()
    torch.nn.init.normal_(made.head.head.weight, std=0.2)
    return made


def draw(batch: int = 2, frames: int = FRAMES, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    x = normal(batch, frames, 3, *SIDE)
    condition = OmniCondition(normal(batch, frames, 3, *SIDE), normal(batch, frames, 4, 5), normal(1, 6, 7))
    return x, torch.linspace(0.2, 0.9, batch), condition


@torch.no_grad()
def test_everything_it_is_given_shows(network):
    x, sigma, condition = draw()
    base = network(x, sigma, condition)
    assert base.shape == x.shape
    others = {
        "state": (x + 0.5, sigma, condition),
        "time": (x, sigma * 0.5, condition),
        "source": (x, sigma, replace(condition, source=condition.source + 0.5)),
        "sound": (x, sigma, replace(condition, audio=condition.audio.roll(1, -1))),
        "order of the sound": (x, sigma, replace(condition, audio=condition.audio.flip(2))),
        "text": (x, sigma, replace(condition, text=condition.text + 0.5)),
    }
    for name, inputs in others.items():
        assert (network(*inputs) - base).abs().max() > 1e-4, name


@torch.no_grad()
def test_every_frame_sees_every_other(network):
    """Bidirectional: the last frame shows in the first, and the first in the last."""
    x, sigma, condition = draw(1)
    base = network(x, sigma, condition)
    for changed, seen in ((0, -1), (-1, 0)):
        other = x.clone()
        other[:, changed] += 1
        assert (network(other, sigma, condition) - base)[:, seen].abs().max() > 1e-5


@torch.no_grad()
def test_sound_reaches_other_frames_through_time_only(network):
    """With the attention in time silenced a frame hears its own sound alone."""
    x, sigma, condition = draw(1)
    held = [block.time_attn.o.weight.clone() for block in network.blocks]
    try:
        for block in network.blocks:
            block.time_attn.o.weight.zero_()
        audio = condition.audio.clone()
        audio[:, 1] += 1
        change = network(x, sigma, replace(condition, audio=audio)) - network(x, sigma, condition)
        assert change[:, 1].abs().max() > 1e-4
        assert change[:, [0, 2]].abs().max() < 1e-6
    finally:
        for block, weight in zip(network.blocks, held, strict=True):
            block.time_attn.o.weight.copy_(weight)


@torch.no_grad()
def test_samples_of_a_batch_do_not_see_each_other_and_drop_by_themselves(network):
    x, sigma, condition = draw(3)
    kept = torch.tensor([True, False, True])
    mixed = network(x, sigma, replace(condition, heard=kept, read=~kept))
    for i in range(3):
        own = OmniCondition(condition.source[i : i + 1], condition.audio[i : i + 1], condition.text)
        own = own if kept[i] else own.without_sound()
        own = replace(own, text=None) if kept[i] else own
        torch.testing.assert_close(network(x[i : i + 1], sigma[i : i + 1], own)[0], mixed[i], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_without_sound_the_sound_is_irrelevant_and_the_source_is_not(network):
    x, sigma, condition = draw()
    silent = network(x, sigma, condition.without_sound())
    other = replace(condition, audio=condition.audio + 3).without_sound()
    assert torch.equal(network(x, sigma, other), silent)
    elsewhere = replace(condition, source=condition.source + 0.5).without_sound()
    assert (network(x, sigma, elsewhere) - silent).abs().max() > 1e-4


def test_recomputed_activations_change_no_gradient(network):
    x, sigma, condition = draw(1)
    gradients = []
    for recompute in (False, True):
        network.recompute = recompute
        network.zero_grad()
        network(x, sigma, condition).square().mean().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    network.recompute = False
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_untrained_it_says_nothing():
    x, sigma, condition = draw()
    assert not OmniSyncTransformer(SIZES)(x, sigma, condition).any()


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="heads"):
        replace(SIZES, heads=5)
    with pytest.raises(ValueError, match="channels"):
        replace(SIZES, channels=0)


@settings(max_examples=15)
@given(st.sampled_from([1, 2, 4]), st.integers(1, 4), st.integers(1, 3), st.integers(0, 100))
def test_folded_pixels_come_back_whole_and_frame_by_frame(fold, frames, cells, seed):
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.rand(1, frames, 3, fold * cells, fold * cells, generator=generator)
    codec = PixelCodec(fold)
    latents = codec.encode(pictures, codec.begin())
    assert latents.shape == (1, frames, 3 * fold**2, cells, cells)
    torch.testing.assert_close(codec.decode(latents, None), pictures, atol=1e-6, rtol=0)
    torch.testing.assert_close(codec.encode(pictures[:, :1], None), latents[:, :1])
