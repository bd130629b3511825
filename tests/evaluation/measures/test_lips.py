"""Lip metrics: known answers on made landmarks and series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.evaluation.measures.lips import aperture_correlation, mouth_distance, silent_aperture


def face(eyes_apart: float = 60.0) -> np.ndarray:
    points = np.random.default_rng(3).uniform(0, 100, (68, 2))
    points[36:42], points[42:48] = (20, 30), (20 + eyes_apart, 30)
    return points


def test_lmd_is_a_share_of_the_inter_ocular_distance_and_ignores_place() -> None:
    real = face(60)
    assert mouth_distance(real + np.array([7, -3]), real) == pytest.approx(0)
    made = real.copy()
    # Half of the points up, half down by 3 px: the mean stays, every point is 3 px off.
    made[48:58, 1] -= 3
    made[58:68, 1] += 3
    assert mouth_distance(made, real) == pytest.approx(3 / 60)


@given(st.integers(-4, 4))
def test_a_late_mouth_is_found_at_its_offset(late: int) -> None:
    real = np.random.default_rng(0).normal(0.1, 0.03, 80)
    found = aperture_correlation(np.roll(real, late), real)
    assert found is not None
    assert found.offset == late
    assert found.best == pytest.approx(1)
    assert (found.at_zero == pytest.approx(1)) == (late == 0)


def test_correlation_is_pearsons_and_leaves_missing_faces_out() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(0.1, 0.03, 60)
    made = 0.5 * real + rng.normal(0, 0.01, 60)
    made[[3, 30]] = np.nan
    kept = np.isfinite(made)
    found = aperture_correlation(made, real, max_offset=0)
    assert found is not None
    assert found.at_zero == pytest.approx(np.corrcoef(made[kept], real[kept])[0, 1])


def test_a_still_mouth_has_no_correlation() -> None:
    assert aperture_correlation(np.full(50, 0.1), np.random.default_rng(0).normal(0.1, 0.03, 50)) is None
    assert aperture_correlation(np.arange(5.0), np.arange(5.0)) is None
    with pytest.raises(ValueError, match="equal length"):
        aperture_correlation(np.arange(20.0), np.arange(21.0))


def test_aperture_in_silence() -> None:
    aperture, silence = np.array([0.2, 0.2, 0.01, 0.03, 0.02, np.nan]), np.array([0, 0.5, 1, 1, 1, 1])
    assert silent_aperture(aperture, silence) == pytest.approx(0.02)
    assert silent_aperture(aperture, silence, min_frames=4) is None
