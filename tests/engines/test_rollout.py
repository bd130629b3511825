"""The rollout: known answers on a network with a closed form, and noise that does not know the cut."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.engines.rollout import chunk_noise, roll_chunk


class Straight:
    """Velocity that always points from ``target`` to the noise: one step lands on the target exactly."""

    def __init__(self, target: torch.Tensor) -> None:
        self.target, self.times, self.committed = target, [], []
        self.weight = torch.ones((), requires_grad=True)

    def predict(self, x, t, audio, cache):
        self.times.append(float(t[0, 0]))
        return self.weight * (x - self.target) / t[..., None]

    def commit(self, x0, audio, cache):
        self.committed.append(x0)


def test_rollout_reaches_the_target_of_a_straight_flow():
    network = Straight(torch.full((1, 4, 3), 0.7))
    noises = chunk_noise(0, 0, 4, 3, 2)
    x0 = roll_chunk(network, None, torch.zeros(1, 4, 8), noises, (0.999, 0.769))
    torch.testing.assert_close(x0, network.target, atol=1e-5, rtol=0)
    assert network.times == pytest.approx([0.999, 0.769])
    assert torch.equal(network.committed[0], x0)


def test_the_second_step_starts_from_fresh_noise_around_x0():
    seen = []

    class Zero(Straight):
        def predict(self, x, t, audio, cache):
            seen.append(x)
            return torch.zeros_like(x)

    noises = chunk_noise(3, 0, 4, 3, 2)
    roll_chunk(Zero(torch.zeros(1, 4, 3)), None, torch.zeros(1, 4, 8), noises, (0.9, 0.5))
    torch.testing.assert_close(seen[0], 0.9 * noises[0])
    torch.testing.assert_close(seen[1], 0.5 * seen[0] + 0.5 * noises[1])


@pytest.mark.parametrize("step", [0, 1])
def test_only_the_chosen_step_carries_a_gradient(step):
    network = Straight(torch.ones(1, 4, 3))
    noises = chunk_noise(0, 0, 4, 3, 2)
    x0 = roll_chunk(network, None, torch.zeros(1, 4, 8), noises, (0.999, 0.769), grad_step=step)
    assert x0.requires_grad
    assert len(network.times) == step + 1
    assert not network.committed[0].requires_grad


def test_noise_of_an_index_does_not_depend_on_the_cut():
    whole = chunk_noise(5, 0, 12, 7, 2)
    for step in range(2):
        parts = torch.cat([chunk_noise(5, first, 3, 7, 2)[step] for first in range(0, 12, 3)], 1)
        assert torch.equal(parts, whole[step])
    assert not torch.equal(chunk_noise(6, 0, 12, 7, 2)[0], whole[0])
    assert abs(float(chunk_noise(1, 0, 2000, 8, 1)[0].std()) - 1) < 0.03


def test_noise_of_pictures_and_of_states_is_drawn_alike():
    whole = chunk_noise(5, 0, 6, (4, 3, 2), 2)
    assert whole[0].shape == (1, 6, 4, 3, 2)
    parts = torch.cat([chunk_noise(5, first, 2, (4, 3, 2), 2)[1] for first in range(0, 6, 2)], 1)
    assert torch.equal(parts, whole[1])


def test_in_half_precision_times_keep_their_digits_and_the_result_its_type():
    target = torch.full((1, 4, 3), 0.7)

    class Half(Straight):
        def predict(self, x, t, audio, cache):
            return super().predict(x.float(), t, audio, cache).to(x.dtype)

    noises = [noise.to(torch.bfloat16) for noise in chunk_noise(0, 0, 4, 3, 2)]
    network = Half(target)
    x0 = roll_chunk(network, None, torch.zeros(1, 4, 8), noises, (0.999, 0.769), first_scale=1.0)
    assert x0.dtype == torch.bfloat16
    assert network.times == pytest.approx([0.999, 0.769], abs=1e-6)
    torch.testing.assert_close(x0.float(), target, atol=0.02, rtol=0)


def test_the_first_noise_can_be_left_unscaled():
    seen = []

    class Watch(Straight):
        def predict(self, x, t, audio, cache):
            seen.append(x)
            return torch.zeros_like(x)

    noises = chunk_noise(3, 0, 4, 3, 1)
    roll_chunk(Watch(torch.zeros(1, 4, 3)), None, torch.zeros(1, 4, 8), noises, (0.9,), first_scale=1.0)
    assert torch.equal(seen[0], noises[0])
