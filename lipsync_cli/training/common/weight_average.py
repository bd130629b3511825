"""Exponential moving average of weights, as every training keeps it: its state is what is shipped."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class WeightAverage:
    """Means of named tensors over the steps; tensors of whole numbers, such as counters, keep their last value.

    Holds one copy of each tensor, on its device.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor], momentum: float) -> None:
        """Keep ``momentum`` in [0, 1] of the mean and add the rest from ``tensors``, which have the same names."""
        for name, mean in self.tensors.items():
            if mean.is_floating_point():
                mean.lerp_(tensors[name], 1 - momentum)
            else:
                mean.copy_(tensors[name])

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from the means that another one held."""
        self.tensors = {name: tensors[name].to(mean.device) for name, mean in self.tensors.items()}


def ramped_momentum(highest: float, steps: int, ramp: int = 9) -> float:
    """The momentum after ``steps`` steps: n / (n + ``ramp``) at first, so that early weights are soon forgotten."""
    return min(highest, steps / (steps + ramp))
