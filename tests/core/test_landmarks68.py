"""Measures on the 68 landmarks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.core.landmarks68 import (
    JAW,
    LEFT_BROW,
    LEFT_EYE,
    MOUTH,
    NOSE,
    NOSE_BASE,
    RIGHT_BROW,
    RIGHT_EYE,
    from_closed_to_open,
    interocular_px,
    lip_gap,
    mouth_aperture,
)
from lipsync_cli.faces.mean_face import MEAN_FACE

FACE = MEAN_FACE[:, :2] * 100


def opened(by: float) -> np.ndarray:
    points = FACE.copy()
    points[[61, 62, 63], 1] = 77.0
    points[[65, 66, 67], :] = points[[63, 62, 61], :] + [0, by]
    return points


def test_landmark_groups_are_where_faces_have_them() -> None:
    rows = [MEAN_FACE[list(group), 1].mean() for group in (LEFT_BROW, LEFT_EYE, NOSE, NOSE_BASE, MOUTH, JAW)]
    assert rows == sorted(rows)
    for left, right in ((LEFT_EYE, RIGHT_EYE), (LEFT_BROW, RIGHT_BROW)):
        x = [MEAN_FACE[list(group), 0].mean() for group in (left, right)]
        assert x[0] < 0.5 < x[1] and sum(x) == pytest.approx(1.0, abs=1e-3)
    for middle in (NOSE, NOSE_BASE, MOUTH, JAW):
        assert MEAN_FACE[list(middle), 0].mean() == pytest.approx(0.5, abs=1e-3)


def test_interocular_distance_is_between_eye_centres() -> None:
    points = np.zeros((68, 2))
    points[list(LEFT_EYE)] = [10, 10]
    points[list(RIGHT_EYE)] = [40, 50]
    assert interocular_px(points) == 50


def test_lip_gap_is_the_mean_of_three_distances_of_any_stack() -> None:
    both = np.stack([opened(0.0), opened(6.0)])
    np.testing.assert_allclose(lip_gap(both), [0.0, 6.0], atol=1e-12)


@given(by=st.floats(0, 40), scale=st.floats(0.1, 10))
def test_mouth_aperture_does_not_depend_on_size(by: float, scale: float) -> None:
    assert mouth_aperture(opened(by) * scale) == pytest.approx(by / interocular_px(FACE))


def test_mouth_aperture_of_coinciding_points_is_finite() -> None:
    assert mouth_aperture(np.zeros((68, 2))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 9))
def test_from_closed_to_open_spreads_over_what_occurs(apertures: list[float], count: int) -> None:
    picked = np.asarray(apertures)[from_closed_to_open(apertures, count)]
    assert len(picked) == count
    assert (np.diff(picked) >= 0).all()
    assert picked[0] == min(apertures)
    assert count == 1 or picked[-1] == max(apertures)
