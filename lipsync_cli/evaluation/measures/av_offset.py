"""From distances between pictures and sound at many offsets to three numbers: confidence, distance and AV offset.

The numbers of SyncNet (Chung and Zisserman 2016, "Out of time"): with m[k] the mean distance at offset k, Sync-D is
min m, Sync-C is median m − min m, and the AV offset is where the minimum lies. An AV offset is counted in frames as
SyncNet does: positive when the sound comes too early, negative when it is late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import Float64

Embeddings = npt.NDArray[np.float32]
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


@dataclass(frozen=True, slots=True)
class OffsetSums:
    """Summed distances and numbers of pairs per offset, ``[2·max_offset + 1]`` each; those of several runs add up."""

    sums: Float64
    counts: Float64

    def __add__(self, other: OffsetSums) -> OffsetSums:
        return OffsetSums(self.sums + other.sums, self.counts + other.counts)

    def curve(self, min_overlap: float = MIN_OVERLAP) -> Float64:
        """Mean distances; NaN where fewer pairs met than ``min_overlap`` of the most at any offset."""
        enough = (self.counts > 0) & (self.counts >= min_overlap * self.counts.max())
        return np.where(enough, self.sums / np.maximum(self.counts, 1), np.nan)


def offset_sums(
    picture: Embeddings,
    sound: Embeddings,
    distance: Callable[[Embeddings, Embeddings], Float64],
    *,
    max_offset: int = MAX_OFFSET,
    first_sound: int = 0,
    stride: int = 1,
) -> OffsetSums:
    """Compare picture windows ``[v d]`` with sound windows ``[a d]`` at every offset.

    Picture window i is at the time of sound window ``stride``·i + ``first_sound``. Only pairs that exist count:
    nothing is padded. ``distance`` takes two ``[n d]`` and gives ``[n]``.
    """
    sums, counts = np.zeros(2 * max_offset + 1), np.zeros(2 * max_offset + 1)
    for k in range(2 * max_offset + 1):
        shift = first_sound + k - max_offset
        begin, end = max(0, -(shift // stride)), min(len(picture), -((shift - len(sound)) // stride))
        if begin < end:
            sounds = sound[stride * begin + shift : stride * (end - 1) + shift + 1 : stride]
            values = distance(picture[begin:end], sounds)
            sums[k], counts[k] = values.sum(), len(values)
    return OffsetSums(sums, counts)


def one_minus_cosine(a: Embeddings, b: Embeddings) -> Float64:
    """Distances ``[n]``, in [0, 2], of embeddings ``[n d]`` of length one."""
    return np.asarray(1 - (a.astype(np.float64) * b).sum(-1))


def mean_scores(scores: Sequence[SyncScore]) -> SyncScore:
    """Means over one or more scores of a clip's parts, as SyncNet takes them."""
    return SyncScore(
        confidence=float(np.mean([score.confidence for score in scores])),
        distance=float(np.mean([score.distance for score in scores])),
        # Truncated, as upstream does.
        av_offset=int(np.mean([score.av_offset for score in scores])),
        windows=sum(score.windows for score in scores),
        curve=tuple(np.mean([score.curve for score in scores], axis=0).tolist()),
    )
