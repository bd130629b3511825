"""What lips do, measured on 68 landmarks: how far they are from other lips, and whether they open when those do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.landmarks68 import MOUTH, interocular_px
from lipsync_cli.core.types import Float64

MAX_OFFSET = 4
# Below this many frames a correlation is noise.
MIN_FRAMES = 12
# An aperture that moves less than this share of the inter-ocular distance is a still mouth.
STILL_APERTURE = 1e-4


@dataclass(frozen=True, slots=True)
class ApertureCorrelation:
    """Pearson correlations: at the best offset within ± 4 frames, which it is, and at offset 0.

    A positive ``offset`` means that the first series is late by so many frames.
    """

    best: float
    offset: int
    at_zero: float


def mouth_distance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """LMD: mean distance of lip points 48–67 of landmarks ``[68 2]`` over the inter-ocular distance of ``b``.

    Each mouth is taken around its own mean, so that only its shape counts.
    """
    first, second = (np.asarray(points, np.float64)[list(MOUTH)] for points in (a, b))
    apart = (first - first.mean(0)) - (second - second.mean(0))
    return float(np.linalg.norm(apart, axis=1).mean()) / max(interocular_px(b), 1e-6)


def aperture_correlation(
    made: npt.ArrayLike, real: npt.ArrayLike, *, max_offset: int = MAX_OFFSET
) -> ApertureCorrelation | None:
    """Correlation of two aperture series ``[n]`` frame by frame; NaN entries (no face) are left out in pairs.

    None when too few frames remain or one of the mouths does not move. Raises ValueError for unequal lengths.
    """
    first, second = np.asarray(made, np.float64), np.asarray(real, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"two series of equal length are needed, got {first.shape} and {second.shape}")
    by_offset = {shift: _shifted_correlation(first, second, shift) for shift in range(-max_offset, max_offset + 1)}
    at_zero = by_offset[0]
    known = {shift: value for shift, value in by_offset.items() if value is not None}
    if at_zero is None or not known:
        return None
    # Of equal values the smallest shift counts.
    offset = max(known, key=lambda shift: (known[shift], -abs(shift)))
    return ApertureCorrelation(known[offset], offset, at_zero)


def _shifted_correlation(first: Float64, second: Float64, shift: int) -> float | None:
    """Correlation of ``first[i + shift]`` with ``second[i]``."""
    n = len(first)
    a = first[max(shift, 0) : n + min(shift, 0)]
    b = second[max(-shift, 0) : n + min(-shift, 0)]
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if len(a) < MIN_FRAMES or a.std() < STILL_APERTURE or b.std() < STILL_APERTURE:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def silent_aperture(aperture: npt.ArrayLike, silence: npt.ArrayLike, *, min_frames: int = 3) -> float | None:
    """Mean aperture over frames deep in silence (``silence`` above 0.99), None with fewer than ``min_frames``."""
    opening, quiet = np.asarray(aperture, np.float64), np.asarray(silence, np.float64) > 0.99
    values = opening[quiet & np.isfinite(opening)]
    return float(values.mean()) if len(values) >= min_frames else None
