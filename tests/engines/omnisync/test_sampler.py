"""The sampler over toy velocity fields: exact ends, the ordinary sampler inside it, and the lock."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.engines.omnisync.guidance import Guidance, mouth_map
from lipsync_cli.engines.omnisync.noise_start import NoiseStart, noised, time_grid
from lipsync_cli.engines.omnisync.region_lock import grown, locked
from lipsync_cli.engines.omnisync.sampler import Sampler

SHAPE = (1, 3, 2, 6, 7)
TAU = st.floats(0, 1)


def draw(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))


def towards(target):
    """The exact velocity of a flow whose only datum is ``target``."""
    return lambda x, sigma, sound: (x - target) / sigma


def crooked(x, sigma, sound):
    return torch.sin(3 * x) + sigma * x.roll(1, -1) - 0.3 * sound


def euler(velocity, x, times):
    for now, after in pairwise(times):
        x = x + (after - now) * velocity(x, now, True)
    return x


@settings(max_examples=30)
@given(
    st.floats(0, 1), st.sampled_from(["cut", "full"]), st.sampled_from([1.0, 3.0, 5.0]), st.none() | st.floats(0, 1)
)
def test_a_model_that_knows_the_source_gives_it_back(tau, mode, shift, mouth_tau):
    source, noise = draw()
    start = NoiseStart(tau, mode, mouth_tau)
    mouth = mouth_map(SHAPE[-2:], torch.tensor([[3.0, 3.0]], dtype=torch.float64), 2.0)
    out = Sampler(12, shift, start)(towards(source), source, noise, mouth=mouth)
    torch.testing.assert_close(out, source, atol=1e-9, rtol=0)


@pytest.mark.parametrize("mode", ["cut", "full"])
def test_tau_one_equals_the_ordinary_sampler_to_the_bit(mode):
    source, noise = draw()
    plain = euler(crooked, noise, time_grid(9, 3.0))
    assert torch.equal(Sampler(9, 3.0, NoiseStart(1.0, mode))(crooked, source, noise), plain)
    assert not torch.equal(Sampler(9, 3.0, NoiseStart(0.9, mode))(crooked, source, noise), plain)


def test_tau_nought_never_asks_the_network():
    source, noise = draw()

    def never(*_):
        raise AssertionError

    assert torch.equal(Sampler(9, 3.0, NoiseStart(0.0))(never, source, noise), source)


def test_guidance_reaches_only_where_its_map_does():
    source, noise = draw()
    mouth = torch.zeros(1, 1, 1, 6, 7, dtype=torch.float64)
    mouth[..., 3, 3] = 1

    def by_sound(x, sigma, sound):
        return torch.full_like(x, float(sound))

    out = Sampler(5, guidance=Guidance(peak=3.0, base=1.0))(by_sound, source, noise, mouth=mouth)
    plain = Sampler(5)(by_sound, source, noise)
    changed = (out - plain).abs() > 1e-12
    assert changed[..., 3, 3].all() and changed.sum() == changed[..., 3, 3].numel()


@settings(max_examples=30)
@given(st.floats(0, 1), st.floats(0.5, 1), st.integers(1, 12))
def test_what_is_locked_stays_on_the_path_of_the_source(share, tau, steps):
    """Away from the mouth every state of a locked step is the source at that time under the same noise."""
    source, noise = draw()
    region = torch.zeros(1, 1, 1, 6, 7, dtype=torch.float64)
    region[..., 3:, 2:5] = 1
    free = region.expand(SHAPE) > 0
    seen = []

    def watched(x, sigma, sound):
        seen.append((sigma, x.clone()))
        return crooked(x, sigma, sound)

    sampler = Sampler(steps, 1.0, NoiseStart(tau), lock=share)
    out = sampler(watched, source, noise, region=region)
    total = len(sampler.times()) - 1
    states = [*seen, (0.0, out)]
    for step in range(round(share * total)):
        sigma, x = states[step + 1]
        assert torch.equal(x[~free], noised(source, noise, sigma)[~free])
    if round(share * total) == total:
        assert torch.equal(out[~free], source[~free])
    if round(share * total) == 0:
        assert torch.equal(out, Sampler(steps, 1.0, NoiseStart(tau))(crooked, source, noise))


def test_a_lock_must_know_what_it_leaves_free():
    source, noise = draw()
    with pytest.raises(ValueError, match="leaves free"):
        Sampler(3, lock=0.8)(crooked, source, noise)


def test_soft_borders_mix_and_masks_grow():
    source, noise = draw()
    half = torch.full((1, 1, 1, 6, 7), 0.5, dtype=torch.float64)
    x = torch.zeros(SHAPE, dtype=torch.float64)
    torch.testing.assert_close(locked(x, source, noise, 0.25, half), 0.5 * (0.75 * source + 0.25 * noise))
    mask = torch.zeros(5, 5)
    mask[2, 2] = 1
    assert grown(mask, 1).sum() == 9 and torch.equal(grown(mask, 0), mask)
    assert grown(torch.zeros(2, 1, 5, 5), 1).shape == (2, 1, 5, 5)
