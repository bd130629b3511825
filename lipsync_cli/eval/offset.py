"""From distances between pictures and sound at many offsets to three numbers: confidence, distance and AV offset.

The numbers of SyncNet (Chung and Zisserman 2016, "Out of time"): with m[k] the mean distance at offset k, Sync-D is
min m, Sync-C is median m − min m, and the AV offset is where the minimum lies. An AV offset is counted in frames as
SyncNet does: positive when the sound comes too early, negative when it is late.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.types import Float64

MAX_OFFSET = 15
# An offset at which fewer windows overlap than this share of the most says nothing.
MIN_OVERLAP = 0.3


@dataclass(frozen=True, slots=True)
class SyncScore:
    """``curve`` holds m for AV offsets ``max_offset`` down to −``max_offset``; NaN where too little overlaps.

    ``windows`` is how many windows of the picture were compared.
    """

    confidence: float
    distance: float
    av_offset: int
    windows: int
    curve: tuple[float, ...]

    def at(self, av_offset: int) -> float:
        """Mean distance at one AV offset."""
        return self.curve[len(self.curve) // 2 - av_offset]


def score_curve(curve: npt.ArrayLike, windows: int) -> SyncScore:
    """The three numbers of a curve ``[2·max_offset + 1]`` whose entry k compares frame i with sound i + k − max."""
    values = np.asarray(curve, np.float64)
    if values.ndim != 1 or len(values) % 2 == 0 or not np.isfinite(values).any():
        raise ValueError(f"a curve has an odd number of entries, some finite, got shape {values.shape}")
    best = int(np.nanargmin(values))
    return SyncScore(
        confidence=float(np.nanmedian(values) - values[best]),
        distance=float(values[best]),
        av_offset=len(values) // 2 - best,
        windows=windows,
        curve=tuple(values.tolist()),
    )


def distance_curve(
    distances: Float64, *, max_offset: int = MAX_OFFSET, first_sound: int = 0, min_overlap: float = MIN_OVERLAP
) -> Float64:
    """Mean distance ``[2·max_offset + 1]`` per offset, from distances ``[v a]`` of all pairs of windows.

    Picture window i is at the time of sound window i + ``first_sound``. Only pairs that exist are averaged: nothing is padded,
    and offsets with less overlap than ``min_overlap`` of the largest are NaN.
    """
    counts = np.zeros(2 * max_offset + 1)
    sums = np.zeros(2 * max_offset + 1)
    for k in range(2 * max_offset + 1):
        diagonal = np.diagonal(distances, k - max_offset + first_sound)
        counts[k], sums[k] = len(diagonal), diagonal.sum()
    enough = (counts > 0) & (counts >= min_overlap * counts.max())
    return np.where(enough, sums / np.maximum(counts, 1), np.nan)
