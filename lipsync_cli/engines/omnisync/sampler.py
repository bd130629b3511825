"""Euler sampling of a rectified flow with noise start, guidance and region lock, over any velocity function."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lipsync_cli.engines.omnisync.guidance import ConstantWindow, Guidance, Predict
from lipsync_cli.engines.omnisync.noise_start import NoiseStart
from lipsync_cli.engines.omnisync.region_lock import is_locked, locked

UNGUIDED = Guidance(peak=1.0, base=1.0, window=ConstantWindow())
FROM_NOISE = NoiseStart(tau=1.0)


@dataclass(frozen=True, slots=True)
class Sampler:
    """``steps`` and ``shift`` of the grid, and what may be added to it. The defaults add nothing.

    ``lock`` is the share of the steps, counted from the first, after which everything but the mouth is put back.
    """

    steps: int = 50
    shift: float = 1.0
    start: NoiseStart = FROM_NOISE
    guidance: Guidance = UNGUIDED
    lock: float = 0.0

    def times(self) -> list[float]:
        """σ before every step, and 0."""
        return self.start.grid(self.steps, self.shift)

    def passes(self) -> int:
        """How often the network runs for a window: twice where guidance does anything, once elsewhere."""
        ends = torch.tensor([0.0, 1.0])
        return sum(1 + self.guidance.counts(self.guidance.scales(ends, time)) for time in self.times()[:-1])

    def __call__(
        self,
        predict: Predict,
        source: Tensor,
        noise: Tensor,
        *,
        mouth: Tensor | float = 1.0,
        region: Tensor | None = None,
    ) -> Tensor:
        """Clean latents like ``source`` ``[b n c h w]``, what is edited; ``noise`` is standard normal.

        ``mouth`` is the mouth map in [0, 1] of guidance and noise start, ``region`` what the lock leaves free (1),
        both broadcasting to ``source``.
        """
        if self.lock and region is None:
            raise ValueError("a lock needs to be told what it leaves free")
        times = self.times()
        x = self.start.state(source, noise, mouth if isinstance(mouth, Tensor) else None)
        for step, (now, after) in enumerate(pairwise(times)):
            x = x + (after - now) * self.guidance.velocity(predict, x, now, mouth)
            if region is not None and is_locked(step, len(times) - 1, self.lock):
                x = locked(x, source, noise, after, region)
        return x
