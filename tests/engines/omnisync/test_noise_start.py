"""Noise start: grids, exact times, what the first state is made of, and noise that does not depend on windows."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.engines.omnisync.noise_start import (
    NoiseStart,
    cut_grid,
    latent_noise,
    noised,
    shifted,
    time_grid,
    unshifted,
)

SHIFTS = (1.0, 3.0, 5.0)


@given(
    st.sampled_from(SHIFTS),
    st.integers(1, 60),
    st.floats(0.01, 1.0),
    st.sampled_from(["cut", "full"]),
    st.none() | st.floats(0, 1),
)
def test_grids_fall_strictly_from_tau_exactly_to_zero(shift, steps, tau, mode, mouth_tau):
    start = NoiseStart(tau, mode, mouth_tau)
    times = start.grid(steps, shift)
    assert times[0] == max(tau, mouth_tau or 0) and times[-1] == 0
    assert all(a > b for a, b in pairwise(times))
    assert len(times) - 1 <= max(1, steps) + (mode == "cut")
    if mode == "full":
        assert len(times) - 1 == steps


@pytest.mark.parametrize(("shift", "steps"), [(1.0, 46), (3.0, 40), (5.0, 35)])
def test_what_is_left_of_fifty_steps(shift, steps):
    """Section 5.2 of what was specified: 46, 39 to 40 and 34 to 35. 1 − 4 / 50 is no second 0.92."""
    assert len(NoiseStart(0.92).grid(50, shift)) - 1 == steps
    assert len(NoiseStart(0.92, "full").grid(50, shift)) - 1 == 50


@pytest.mark.parametrize(
    ("shift", "at_start", "at_threshold"), [(1, 0.920, 0.850), (3, 0.793, 0.654), (5, 0.697, 0.531)]
)
def test_thresholds_are_on_sigma(shift, at_start, at_threshold):
    assert unshifted(0.92, shift) == pytest.approx(at_start, abs=5e-4)
    assert unshifted(0.85, shift) == pytest.approx(at_threshold, abs=6e-4)
    assert shifted(unshifted(0.37, shift), shift) == pytest.approx(0.37)


@pytest.mark.parametrize("mode", ["cut", "full"])
@pytest.mark.parametrize("shift", SHIFTS)
def test_tau_one_is_the_ordinary_start_to_the_bit(mode, shift):
    source, noise = torch.randn(2, 1, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0)).unbind(0)
    start = NoiseStart(1.0, mode)
    assert start.grid(20, shift) == time_grid(20, shift)
    assert torch.equal(start.state(source, noise), noise)


def test_tau_nought_takes_no_step():
    source = torch.randn(1, 3, 4, 5, 5)
    assert NoiseStart(0.0).grid(50, 3.0) == [0.0] == NoiseStart(0.0, "full").grid(50, 3.0)
    assert torch.equal(NoiseStart(0.0).state(source, torch.randn_like(source)), source)


@pytest.mark.parametrize("tau", [0.3, 0.8, 0.92])
def test_spread_of_the_first_state(tau):
    generator = torch.Generator().manual_seed(1)
    source = 1.7 * torch.randn(400_000, generator=generator)
    noise = torch.randn(400_000, generator=generator)
    wanted = ((1 - tau) ** 2 * source.var() + tau**2) ** 0.5
    assert NoiseStart(tau).state(source, noise).std() == pytest.approx(float(wanted), rel=0.01)


def test_the_mouth_may_start_from_noise_alone():
    source, noise = torch.randn(1, 1, 2, 3, 3), torch.randn(1, 1, 2, 3, 3)
    mouth = torch.zeros(1, 1, 1, 3, 3)
    mouth[..., 1, 1] = 1
    mouth[..., 0, 0] = 0.5
    start = NoiseStart(0.8, mouth_tau=1.0)
    state = start.state(source, noise, mouth)
    assert start.time == 1.0
    assert torch.equal(state[..., 1, 1], noise[..., 1, 1])
    torch.testing.assert_close(state[..., 2, 2], noised(source, noise, 0.8)[..., 2, 2])
    torch.testing.assert_close(state[..., 0, 0], noised(source, noise, 0.9)[..., 0, 0])
    with pytest.raises(ValueError, match="where the mouth is"):
        start.state(source, noise)


@given(st.integers(0, 2**31), st.integers(0, 40), st.integers(1, 6), st.integers(1, 6))
def test_noise_belongs_to_a_latent_frame_not_to_a_window(seed, first, count, overlap):
    shape = (2, 3, 3)
    early = latent_noise(seed, first, count + overlap, shape)
    late = latent_noise(seed, first + count, overlap + 2, shape)
    assert torch.equal(early[:, count:], late[:, :overlap])
    assert not torch.equal(early[:, :1], late[:, -1:])


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="tau"):
        NoiseStart(1.2)
    with pytest.raises(ValueError, match="mouth_tau"):
        NoiseStart(0.9, mouth_tau=-1)
    with pytest.raises(ValueError, match="step"):
        time_grid(0, 1.0)
    assert cut_grid([1.0, 0.5, 0.0], 0.5) == [0.5, 0.0]
