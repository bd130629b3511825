"""The Fréchet distance of Gaussians with known moments, and CSIM."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from lipsync_cli.evaluation.measures.frechet import frechet_distance
from lipsync_cli.evaluation.measures.identity import cosine_similarity


def test_shifted_and_scaled_features() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (500, 6))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows + 2) == pytest.approx(6 * 4)
    # Same axes, standard deviations s and 3·s: Σ (3s − s)² over the eigenvalues.
    assert frechet_distance(rows - rows.mean(0), 3 * (rows - rows.mean(0))) == pytest.approx(
        4 * np.trace(np.cov(rows.T))
    )


def test_agrees_with_the_matrix_square_root() -> None:
    rng = np.random.default_rng(1)
    a, b = (
        rng.normal(0, 1, (300, 5)) @ rng.normal(0, 1, (5, 5)),
        rng.normal(1, 1, (200, 5)) @ rng.normal(0, 1, (5, 5)),
    )
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    apart = a.mean(0) - b.mean(0)
    expected = apart @ apart + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_too_few_or_unlike_features_are_refused() -> None:
    for shapes in (((1, 4), (5, 4)), ((5, 4), (5, 3))):
        with pytest.raises(ValueError, match="equal width"):
            frechet_distance(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_cosine_similarity() -> None:
    assert cosine_similarity([1, 0], [1, 1]) == pytest.approx(2**-0.5)
    assert cosine_similarity([1, 2], [-1, -2]) == pytest.approx(-1)
    with pytest.raises(ValueError, match="zero"):
        cosine_similarity([0, 0], [1, 1])
