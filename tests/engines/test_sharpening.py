"""What is sharpened follows how far a crop was enlarged."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.core.types import Alignment, Crop
from lipsync_cli.engines.sharpening import detail_sigma, sharpened


def crop(matrix: list[list[float]]) -> Crop:
    return Crop(np.zeros((64, 64, 3), np.uint8), Alignment(np.array(matrix), 64), np.zeros((68, 2)))


def test_enlargement_is_that_of_the_alignment_whatever_its_angle() -> None:
    assert crop([[0.0, -2.0, 5.0], [2.0, 0.0, 1.0]]).enlargement == pytest.approx(2)
    assert crop([[0.3, 0.4, 0.0], [-0.4, 0.3, 0.0]]).enlargement == pytest.approx(0.5)


def test_detail_is_as_coarse_as_the_picture_it_came_from_but_never_finer_than_the_crop() -> None:
    assert detail_sigma(256, 2.0) == 2 * detail_sigma(256) == 2 * detail_sigma(256, 0.5)


def test_sharpening_leaves_flat_pictures_and_their_mean_alone() -> None:
    flat = np.full((32, 32, 3), 0.4, np.float32)
    np.testing.assert_allclose(sharpened(flat, 0.5, 1.6), flat, atol=1e-6)
    edge = np.where(np.arange(32)[None, :, None] < 16, 0.2, 0.8).astype(np.float32) * np.ones((32, 1, 3), np.float32)
    done = sharpened(edge, 0.5, 1.6)
    assert done.max() > 0.85 and done.min() < 0.15
    assert done.mean() == pytest.approx(edge.mean(), abs=1e-3)
