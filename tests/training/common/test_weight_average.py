"""The one moving average of weights."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.training.common.weight_average import WeightAverage, ramped_momentum


def test_weight_average_is_exponential_for_numbers_and_the_last_value_for_counters() -> None:
    average = WeightAverage({"w": torch.zeros(2), "n": torch.tensor(0)})
    for step in (1, 2):
        average.update({"w": torch.full((2,), float(step)), "n": torch.tensor(step)}, 0.75)
    assert average.tensors["w"].tolist() == [0.75 * 0.25 + 0.5] * 2
    assert int(average.tensors["n"]) == 2


def test_weight_average_without_momentum_is_the_last_weights_to_the_bit() -> None:
    average, weights = WeightAverage({"w": torch.randn(50)}), torch.randn(50)
    average.update({"w": weights}, 0.0)
    assert torch.equal(average.tensors["w"], weights)


def test_weight_average_holds_a_copy_of_parameters() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    average = WeightAverage({"w": parameter})
    parameter.data += 1
    assert not average.tensors["w"].requires_grad and average.tensors["w"].sum() == 0
    average.load({"w": torch.ones(3, dtype=torch.float32), "other": torch.ones(1)})
    assert average.tensors.keys() == {"w"} and average.tensors["w"].sum() == 3


def test_ramped_momentum_rises_to_its_highest() -> None:
    momenta = [ramped_momentum(0.9, step) for step in range(1, 200)]
    assert momenta[0] == pytest.approx(0.1) and momenta == sorted(momenta) and momenta[-1] == 0.9
    assert ramped_momentum(0.9, 1, ramp=1) == 0.5
