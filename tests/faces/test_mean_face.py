"""The average face."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.faces.mean_face import MEAN_FACE

# Which landmark lies on the other side of the face.
MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1),  # jaw, brows
    *range(27, 31), *range(35, 30, -1),  # nose
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,  # eyes
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),  # lips
]  # fmt: skip


def test_mean_face_is_symmetric() -> None:
    assert MEAN_FACE.shape == (68, 3)
    np.testing.assert_allclose(MEAN_FACE[MIRRORED] * [-1, 1, 1] + [1, 0, 0], MEAN_FACE, atol=1.1e-4)


def test_mean_face_has_its_nose_in_front_and_its_ears_behind() -> None:
    depth = MEAN_FACE[:, 2]
    assert np.argmax(depth) == 30
    assert {int(i) for i in np.argsort(depth)[:2]} == {0, 16}
    assert depth[[36, 39, 42, 45]].mean() == pytest.approx(0, abs=0.02)


def test_mean_face_fills_the_box_of_a_detector() -> None:
    x, y = MEAN_FACE[:, 0], MEAN_FACE[:, 1]
    assert 0 < x.min() < 0.1 and 0.9 < x.max() < 1
    assert 0 < y.min() < 0.2 and 1 < y.max() < 1.1
