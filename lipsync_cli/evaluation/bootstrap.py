"""Is one result better than another? Paired bootstrap intervals over clips, instead of two bare means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean of b − a over ``n`` pairs and its central interval; ``a`` and ``b`` are the means of the pairs."""

    n: int
    a: float
    b: float
    difference: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    a: npt.ArrayLike, b: npt.ArrayLike, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> PairedDifference:
    """Percentile interval of the mean difference of values ``[n]`` of the same clips (Efron 1979).

    Pairs are resampled together, so what clips have in common cancels. Raises ValueError without pairs.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"pairs of values are needed, got {first.shape} and {second.shape}")
    apart = second - first
    picks = np.random.default_rng(seed).integers(0, len(apart), (resamples, len(apart)))
    means = apart[picks].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return PairedDifference(
        len(apart), float(first.mean()), float(second.mean()), float(apart.mean()), float(low), float(high)
    )
