"""Dynamic spatiotemporal guidance: strong on the sound where and while the mouth is made, weak elsewhere.

Peng et al. (2025), "OmniSync" (arXiv 2505.21448), equations 7 to 9, on velocities. The paper multiplies by the peak
twice, once in space and once in time; ``literal`` does, ``normalised`` does so once, so that the peak is the largest
scale there is. The band in time is that of Lip Forcing (arXiv 2606.11180, section 4), whose analysis disagrees with a
window that falls monotonically.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

PLAIN = 1e-3
"""Scales this close to 1 everywhere are none: the second pass would change nothing worth its time."""

Predict = Callable[[Tensor, float, bool], Tensor]
"""Velocity of a state at σ, with the sound (True) or with what was learnt for no sound (False)."""


@dataclass(frozen=True, slots=True)
class PowerWindow:
    """σ to the power of ``exponent``: 0.882 at σ 0.92 and 0.125 at 0.25 for the paper's 1.5."""

    exponent: float = 1.5

    def __call__(self, sigma: float) -> float | None:
        return float(sigma**self.exponent)


@dataclass(frozen=True, slots=True)
class BandWindow:
    """Guidance at full strength from ``low`` to ``high`` and none at all outside."""

    low: float
    high: float

    def __call__(self, sigma: float) -> float | None:
        return 1.0 if self.low <= sigma <= self.high else None


@dataclass(frozen=True, slots=True)
class ConstantWindow:
    """The same guidance at every time."""

    def __call__(self, sigma: float) -> float | None:
        return 1.0


Window = PowerWindow | BandWindow | ConstantWindow


def parse_window(text: str) -> Window:
    """``const``, ``power:1.5`` or ``band:0.555-0.882``; ValueError for anything else."""
    number = r"(\d+(?:\.\d*)?|\.\d+)"
    if text == "const":
        return ConstantWindow()
    if match := re.fullmatch(f"power:{number}", text):
        return PowerWindow(float(match[1]))
    if (match := re.fullmatch(f"band:{number}-{number}", text)) and float(match[1]) < float(match[2]) <= 1:
        return BandWindow(float(match[1]), float(match[2]))
    raise ValueError(f"expected const, power:G or band:A-B with 0 ≤ A < B ≤ 1, got {text!r}")


@dataclass(frozen=True, slots=True)
class Guidance:
    """Scales of the sound: ``peak`` at the mouth, ``base`` far from it, over time as ``window`` says.

    A scale of 1 is the plain prediction with sound, 0 the one without. ``min_scale`` is the least that may come out;
    0 leaves the paper's scales, which fall below 1 in late steps and, far from the mouth, from the first.
    """

    peak: float = 4.5
    base: float = 1.0
    window: Window = PowerWindow()
    mode: Literal["normalised", "literal"] = "normalised"
    min_scale: float = 1.0

    def scales(self, mouth: Tensor | float, sigma: float) -> Tensor:
        """S for the mouth map ``mouth`` in [0, 1], 1 at the mouth (a number, 1, for a flat one)."""
        strength, place = self.window(sigma), torch.as_tensor(mouth)
        if strength is None:
            return torch.ones_like(place, dtype=torch.promote_types(place.dtype, torch.float32))
        in_space = self.base + (self.peak - self.base) * place
        in_time = strength * (self.peak if self.mode == "literal" else 1.0)
        return (in_space * in_time).clamp(min=self.min_scale)

    @staticmethod
    def counts(scales: Tensor) -> bool:
        """Whether such scales differ from the plain prediction anywhere."""
        return float((scales - 1).abs().max()) >= PLAIN

    def velocity(self, predict: Predict, x: Tensor, sigma: float, mouth: Tensor | float) -> Tensor:
        """u + S·(c − u) with the predictions c with sound and u without, which is not made where S is 1."""
        scales = self.scales(mouth, sigma)
        conditional = predict(x, sigma, True)
        if not self.counts(scales):
            return conditional
        unconditional = predict(x, sigma, False)
        return unconditional + scales.to(x) * (conditional - unconditional)


def mouth_map(
    size: tuple[int, int], centres: Tensor, spread: Tensor | float, unit: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """exp(−d² / 2s²) ``[n 1 h w]`` of latent pixels around ``centres`` ``[n 2]`` (row, column), 1 at a centre.

    ``unit`` is the height and width of a latent pixel in any common unit, in which the Gaussian is round and
    ``spread``, s, is given (a number or ``[n]``). Rows and columns are counted from the first pixel's centre.
    """
    rows, columns = (torch.arange(n, dtype=centres.dtype, device=centres.device) for n in size)
    down = (rows[None, :, None] - centres[:, 0, None, None]) * unit[0]
    across = (columns[None, None, :] - centres[:, 1, None, None]) * unit[1]
    width = torch.as_tensor(spread, dtype=centres.dtype, device=centres.device).reshape(-1, 1, 1)
    return torch.exp(-(down.square() + across.square()) / (2 * width.square()))[:, None]


def smooth_centres(centres: Tensor, reach: int = 2) -> Tensor:
    """The median of each frame's centre ``[t 2]`` and its neighbours', as many as ``reach`` on each side."""
    frames = len(centres)
    rows = [centres[max(0, i - reach) : i + reach + 1].quantile(0.5, dim=0) for i in range(frames)]
    return torch.stack(rows) if rows else centres


def by_latent(values: Tensor, frames_per_latent: int, *, first: bool) -> Tensor:
    """Means ``[n ...]`` of video frames' values ``[t ...]`` over the frames of each latent.

    ``first``: a stream's first latent holds a single frame.
    """
    head = values[:1] if first else values[:0]
    rest = values[len(head) :]
    return torch.cat([head, torch.unflatten(rest, 0, (-1, frames_per_latent)).mean(1)]) if len(rest) else head
