"""Progressive noise initialisation: start from the noised source instead of from noise alone.

Peng et al. (2025), "OmniSync" (arXiv 2505.21448), equations 5 and 6; it is SDEdit (Meng et al. 2022) with the source
as a condition besides. Rectified flow throughout: x_σ = (1 − σ)·z + σ·ε, σ from 1 (noise) to 0 (clean).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lipsync_cli.engines.rollout import chunk_noise

SAME = 1e-9
"""Times closer than this are one: 1 − 4 / 50 need not be 0.92 to the last bit."""

Steps = Literal["cut", "full"]


@dataclass(frozen=True, slots=True)
class NoiseStart:
    """Where sampling begins: at ``tau`` in [0, 1], with that share of noise over the source.

    ``steps``: ``cut`` drops what lies above tau from an N-step grid, ``full`` spaces N steps between tau and 0.
    ``mouth_tau`` is the share of noise at the mouth's centre, from where it falls to ``tau``: with 1 nothing there
    tells what the source's lips did. The time of the start is the larger of the two, so that away from the mouth the
    state is slightly less noisy than its time says.
    """

    tau: float = 0.92
    steps: Steps = "cut"
    mouth_tau: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("tau", self.tau), ("mouth_tau", self.mouth_tau)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")

    @property
    def time(self) -> float:
        """σ at which the sampler starts."""
        return self.tau if self.mouth_tau is None else max(self.tau, self.mouth_tau)

    def grid(self, count: int, shift: float) -> list[float]:
        """Times from ``self.time`` down to 0, strictly falling; ``[0.0]``, no step at all, for a start at 0."""
        if self.steps == "full":
            return time_grid(count, shift, start=self.time)
        return cut_grid(time_grid(count, shift), self.time)

    def state(self, source: Tensor, noise: Tensor, mouth: Tensor | None = None) -> Tensor:
        """The first state, like ``source``; ``mouth`` is the mouth map in [0, 1] that broadcasts to it."""
        if self.mouth_tau is None:
            return noised(source, noise, self.tau)
        if mouth is None:
            raise ValueError("a noise share of the mouth's own needs to be told where the mouth is")
        return noised(source, noise, self.tau + (self.mouth_tau - self.tau) * mouth)


def noised(source: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """(1 − σ)·z + σ·ε; σ is a number or broadcasts to z."""
    return (1 - sigma) * source + sigma * noise


def shifted(u: float, shift: float) -> float:
    """σ = s·u / (1 + (s − 1)·u): times pushed towards noise by a shift s > 1 (Esser et al. 2024)."""
    return shift * u / (1 + (shift - 1) * u)


def unshifted(sigma: float, shift: float) -> float:
    """The u whose ``shifted`` is σ."""
    return sigma / (shift - (shift - 1) * sigma)


def time_grid(count: int, shift: float, *, start: float = 1.0) -> list[float]:
    """``count`` steps from ``start`` to 0: count + 1 times, evenly spaced before the shift; ``[0.0]`` from 0."""
    if count < 1 or shift <= 0:
        raise ValueError(f"a grid needs at least one step and a positive shift, got {count} and {shift}")
    if start <= SAME:
        return [0.0]
    top = unshifted(start, shift)
    return [start, *(shifted(top * (1 - step / count), shift) for step in range(1, count)), 0.0]


def cut_grid(times: Sequence[float], tau: float) -> list[float]:
    """A falling grid that ends in 0 with everything from ``tau`` up replaced by ``tau`` itself, exactly."""
    if tau <= SAME:
        return [0.0]
    return [tau, *(time for time in times if time < tau - SAME)]


def latent_noise(seed: int, first: int, count: int, shape: Sequence[int]) -> Tensor:
    """Noise ``[1 count *shape]`` that depends on the seed and each latent frame's absolute index alone.

    Windows that overlap get the same numbers where they do, without which their seams would flicker.
    """
    return chunk_noise(seed, first, count, shape, 1)[0] if count else torch.zeros(1, 0, *shape)
