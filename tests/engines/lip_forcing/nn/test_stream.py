"""The rollout that trains and runs every model, over the Lip Forcing transformer."""

from __future__ import annotations

import torch

from lipsync_cli.engines.rollout import chunk_noise, roll_chunk
from lipsync_cli.nn.wan.config import LATENT_CHANNELS
from tests.helpers.narrow_transformer import CONFIG, SIZE, make_condition, make_text, make_transformer, part

SCHEDULE = (0.999, 0.769)
SHAPE = (LATENT_CHANNELS, *SIZE)


def rollout(network, condition, frames, *, grad_step=None, seed=4):
    cache = network.begin(make_text(), SIZE)
    chunks = []
    for first in range(0, frames, CONFIG.chunk):
        noises = chunk_noise(seed, first, CONFIG.chunk, SHAPE, 2)
        own = part(condition, slice(first, first + CONFIG.chunk))
        chunks.append(roll_chunk(network, cache, own, noises, SCHEDULE, grad_step=grad_step, first_scale=1.0))
    return torch.cat(chunks, 1)


@torch.no_grad()
def test_a_stream_cut_short_is_the_beginning_of_the_longer_one():
    network, condition = make_transformer(), make_condition(15)
    assert torch.equal(rollout(network, condition, 9), rollout(network, condition, 15)[:, :9])


@torch.no_grad()
def test_the_rollout_is_two_uncached_passes_per_chunk_written_out():
    """Every step of every chunk recomputed from the whole past, with no cache, ring or rollout involved."""
    network, condition, text = make_transformer(), make_condition(12), make_text()
    done = torch.zeros(1, 0, *SHAPE)
    for first in range(0, 12, 3):
        noise = chunk_noise(4, first, 3, SHAPE, 2)
        seen = part(condition, slice(0, first + 3))

        def clean(x, t, done=done, first=first, seen=seen):
            times = torch.cat([torch.zeros(1, first), torch.full((1, 3), t)], 1)
            return x - t * network(torch.cat([done, x], 1), times, seen, text, views="stream")[:, first:]

        x0 = clean(noise[0], 0.999)
        done = torch.cat([done, clean((1 - 0.769) * x0 + 0.769 * noise[1], 0.769)], 1)
    torch.testing.assert_close(rollout(network, condition, 12), done, atol=5e-5, rtol=0)


def test_training_rolls_out_with_the_same_function():
    """Self-Forcing: each chunk's chosen step carries a gradient, the past none."""
    network, condition = make_transformer(), make_condition(9)
    x0 = rollout(network, condition, 9, grad_step=1)
    with torch.no_grad():
        torch.testing.assert_close(x0, rollout(network, condition, 9), atol=5e-5, rtol=0)
    alone = torch.autograd.grad(x0[:, :3].sum(), network.patch_embedding.weight, retain_graph=True)[0]
    later = torch.autograd.grad(x0[:, 6:].sum(), network.patch_embedding.weight)[0]
    assert float(alone.abs().max()) > 0 and float(later.abs().max()) > 0
