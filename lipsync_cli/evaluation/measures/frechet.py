"""Fréchet distance between two sets of features: FID with an image network's, FVD with a video network's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def frechet_distance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½) of features ``[n d]`` (Heusel et al. 2017), n ≥ 2 each.

    The trace of the root is the sum of the roots of the eigenvalues of Σ₁Σ₂, which are real and not negative.
    Raises ValueError for fewer rows or unequal widths.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(f"two sets [n≥2 d] of equal width are needed, got {first.shape} and {second.shape}")
    apart = first.mean(0) - second.mean(0)
    cov_a, cov_b = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (first, second))
    roots = np.sqrt(np.clip(np.linalg.eigvals(cov_a @ cov_b).real, 0, None))
    return float(apart @ apart + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum())
