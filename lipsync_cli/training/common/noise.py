"""Random numbers of a training step: a function of its seed, drawn on the CPU whatever device they go to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# 2⁶⁴ over the golden ratio: seeds of neighbouring parts and steps never meet.
STRIDE = 0x9E3779B97F4A7C15
# A prime above any number of steps: two numbers never mix to the same seed.
STEP_STRIDE = 1_000_003


def step_seed(seed: int, *numbers: int) -> int:
    """The seed of one draw of a training: its own mixed with ``numbers``, such as a stream's and the step's."""
    for number in numbers:
        seed = seed * STEP_STRIDE + number
    return seed


def part_seed(seed: int, part: int) -> int:
    """The seed of a part of a step's batch; that of part 0 is the step's own."""
    return (seed + part * STRIDE) % 2**63 if part else seed


class Noise:
    """A stream of random numbers for each of ``parts``, joined along the first axis."""

    def __init__(self, seed: int, parts: Sequence[int] = (0,), device: torch.device | str = "cpu") -> None:
        self._seed, self._device = seed, device
        self._generators = [torch.Generator().manual_seed(part_seed(seed, part)) for part in parts]

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers."""
        return self._joined(torch.randn, shape)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Numbers in [0, 1)."""
        return self._joined(torch.rand, shape)

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        """Whole numbers in [0, high)."""
        return self._joined(lambda part, generator: torch.randint(high, part, generator=generator), shape)

    def common_integer(self, high: int) -> int:
        """One number in [0, high), the same in every process. The first draw, or not at all."""
        for generator in self._generators:  # part 0's stream goes on after the common number, so all do
            torch.randint(high, (1,), generator=generator)
        return int(torch.randint(high, (1,), generator=torch.Generator().manual_seed(self._seed)))

    def _joined(self, make: Callable[..., Tensor], shape: Sequence[int]) -> Tensor:
        part = (shape[0] // len(self._generators), *shape[1:])
        drawn = [make(part, generator=generator) for generator in self._generators]
        return (drawn[0] if len(drawn) == 1 else torch.cat(drawn)).to(self._device)
