"""Solvers: the published steps, the answer for a known distribution, guidance, and which passes are cut short."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.engines.latentsync.sampling import WindowSampler, make_scheduler


@pytest.mark.parametrize(
    ("steps", "first", "last"), [(20, [951, 901], [51, 1]), (25, [961, 921], [41, 1]), (50, [981, 961], [21, 1])]
)
def test_ddim_takes_the_releases_steps(steps, first, last):
    scheduler = make_scheduler("ddim", steps)
    timesteps = scheduler.timesteps.tolist()
    assert len(timesteps) == steps and timesteps[:2] == first and timesteps[-2:] == last
    assert float(scheduler.init_noise_sigma) == 1
    assert float(scheduler.final_alpha_cumprod) == pytest.approx(0.99915, abs=5e-6)


class Known:
    """The exact noise prediction where every latent is ``mean`` plus a tenth of a standard normal number."""

    dtype = torch.float32

    def __init__(self, mean: float, without: float | None = None) -> None:
        self.mean, self.without, self.calls = mean, mean if without is None else without, []
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        self.alphas = (1 - betas).cumprod(0)

    def predict(self, x, t, audio):
        self.calls.append(("full", t, len(x)))
        return self._noise(x, t), x[:, :, 5:]

    def predict_again(self, x, t, audio, deep):
        assert torch.equal(deep, x[:, :, 5:])
        self.calls.append(("short", t, len(x)))
        return self._noise(x, t)

    def _noise(self, x, t):
        a = float(self.alphas[t])
        means = torch.tensor([self.mean] if len(x) == 1 else [self.without, self.mean]).view(-1, 1, 1, 1, 1)
        return (1 - a) ** 0.5 * (x[:, :, :4] - a**0.5 * means) / (a * 0.01 + 1 - a)


NOISE = torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
CONDITION, AUDIO = torch.zeros(1, 3, 9, 8, 8), torch.ones(3, 5, 2)


@pytest.mark.parametrize(
    ("solver", "steps", "bound"), [("ddim", 50, 0.05), ("ddim", 20, 0.1), ("dpm++", 10, 0.05), ("dpm++", 4, 0.1)]
)
def test_the_solvers_find_the_distribution(solver, steps, bound):
    network = Known(0.7)
    found = WindowSampler(solver, steps, 1.0, 1).sample(network, NOISE, CONDITION, AUDIO)
    assert found.mean() == pytest.approx(0.7, abs=bound)
    assert 0.01 < found.std() < 0.2
    assert len(network.calls) == steps and all(call[2] == 1 for call in network.calls)


def test_guidance_goes_beyond_what_is_heard_by_its_share():
    """The prediction is affine in the mean, so guiding is sampling around without + s · (with − without)."""
    network = Known(0.4, without=0.1)
    found = WindowSampler("ddim", 20, 1.5, 1).sample(network, NOISE, CONDITION, AUDIO)
    expected = WindowSampler("ddim", 20, 1.0, 1).sample(Known(0.1 + 1.5 * 0.3), NOISE, CONDITION, AUDIO)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert all(call[2] == 2 for call in network.calls)


def test_of_twenty_steps_seven_are_full_ones_with_a_reuse_of_three():
    network, sampler = Known(0.2), WindowSampler("ddim", 20, 1.5, 3)
    sampler.sample(network, NOISE, CONDITION, AUDIO)
    full = [index for index, call in enumerate(network.calls) if call[0] == "full"]
    assert full == list(range(0, 20, 3)) and sampler.full_passes == len(full) == 7


def test_windows_are_sampled_alike_one_after_the_other():
    """Multistep solvers remember; a window starts them anew."""
    sampler = WindowSampler("dpm++", 4, 1.0, 1)
    first, second = (sampler.sample(Known(0.7), NOISE, CONDITION, AUDIO) for _ in range(2))
    assert torch.equal(first, second)
