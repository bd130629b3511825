"""Maps between pictures, and the pixels they bring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.core.geometry import (
    affine_scale,
    compose_affine,
    cut_from,
    invert_affine,
    of_each_channel,
    similarity_from_points,
    transform_points,
    warp_to_crop,
)
from lipsync_cli.core.types import UInt8

similarities = st.builds(
    lambda scale, angle, x, y: np.array(
        [
            [scale * np.cos(angle), -scale * np.sin(angle), x],
            [scale * np.sin(angle), scale * np.cos(angle), y],
        ]
    ),
    st.floats(0.05, 20),
    st.floats(-3.1, 3.1),
    st.floats(-300, 300),
    st.floats(-300, 300),
)
POINTS = np.array([[10.0, 20.0], [90.0, 25.0], [45.0, 70.0], [30.0, 5.0]])


class PartialView:
    """An RgbView that gives no more than it is asked for, and remembers how much that was."""

    def __init__(self, picture: UInt8) -> None:
        self.picture = picture
        self.height, self.width = picture.shape[:2]
        self.given = 0

    def whole(self) -> UInt8:
        raise AssertionError("a part would do")

    def around(self, box: tuple[int, int, int, int], step: int) -> tuple[UInt8, int, int]:
        x0, y0 = (max(0, v) // step * step for v in box[:2])
        part = self.picture[y0 : max(box[3], y0 + 1), x0 : max(box[2], x0 + 1)]
        self.given = part.shape[0] * part.shape[1]
        return np.ascontiguousarray(part), x0, y0

    def thinned(self, step: int) -> UInt8:
        return np.ascontiguousarray(self.picture[::step, ::step])


def waves(width: int, height: int) -> UInt8:
    y, x = np.mgrid[0:height, 0:width] / 9.0
    return (127 + 60 * np.stack([np.sin(x + y), np.cos(x - y), np.sin(0.5 * x)], -1)).astype(np.uint8)


@given(similarities)
def test_similarity_from_points_finds_the_map_that_moved_them(matrix: np.ndarray) -> None:
    found = similarity_from_points(POINTS, transform_points(matrix, POINTS))
    np.testing.assert_allclose(found, matrix, atol=1e-6)


def test_similarity_from_points_is_the_best_of_all_where_none_fits() -> None:
    rng = np.random.default_rng(0)
    target = POINTS + rng.normal(0, 5, POINTS.shape)
    found = similarity_from_points(POINTS, target)

    def misfit(matrix: np.ndarray) -> float:
        return float(((transform_points(matrix, POINTS) - target) ** 2).sum())

    for _ in range(50):
        a, b, x, y = rng.normal(0, 0.01, 4) * (1, 1, 30, 30)
        assert misfit(found + np.array([[a, -b, x], [b, a, y]])) >= misfit(found)


def test_similarity_from_points_that_coincide_is_an_error() -> None:
    with pytest.raises(ValueError, match="coincide"):
        similarity_from_points([[3, 3], [3, 3]], [[0, 0], [1, 1]])


@given(similarities, similarities)
def test_compose_affine_applies_the_inner_map_first(outer: np.ndarray, inner: np.ndarray) -> None:
    both = transform_points(compose_affine(outer, inner), POINTS)
    np.testing.assert_allclose(both, transform_points(outer, transform_points(inner, POINTS)), rtol=1e-9, atol=1e-6)


@given(similarities)
def test_invert_affine_undoes_the_map(matrix: np.ndarray) -> None:
    there = transform_points(matrix, POINTS)
    np.testing.assert_allclose(transform_points(invert_affine(matrix), there), POINTS, atol=1e-6)


def test_affine_scale_is_the_root_of_the_area_factor() -> None:
    assert affine_scale([[2, 0, 5], [0, 8, 7]]) == pytest.approx(4)
    assert affine_scale([[0, -3, 5], [3, 0, 7]]) == pytest.approx(3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_warp_to_crop_cuts_out_pixels_as_they_are(dtype: type) -> None:
    picture = waves(120, 80).astype(dtype)
    crop = warp_to_crop(picture, [[1, 0, -30], [0, 1, -20]], 32)
    assert crop.dtype == dtype
    np.testing.assert_array_equal(crop, picture[20:52, 30:62])


def test_warp_to_crop_repeats_the_border() -> None:
    picture = waves(40, 30)
    crop = warp_to_crop(picture, [[1, 0, 10], [0, 1, 10]], 20)
    np.testing.assert_array_equal(crop[:10, :10], np.broadcast_to(picture[0, 0], (10, 10, 3)))


def test_warp_to_crop_averages_what_it_shrinks() -> None:
    """A fine chequerboard becomes grey wherever the crop falls, rather than one of its colours."""
    board = np.repeat((np.indices((240, 240)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    for shift in (0.0, 0.5, 1.0, 1.7):
        crop = warp_to_crop(board, [[0.25, 0, shift], [0, 0.25, shift]], 40)
        assert np.abs(crop[4:-4, 4:-4].astype(int) - 127).max() <= 2


@pytest.mark.parametrize("scale", [0.2, 0.45, 1.0, 3.0])
def test_warp_to_crop_puts_shrunk_pixels_where_the_map_says(scale: float) -> None:
    y, x = np.mgrid[0:300, 0:300]
    ramp = np.stack([x, y, x], -1).astype(np.float32)
    matrix = np.array([[scale, 0, -scale * 60.5], [0, scale, -scale * 80.25]])
    crop = warp_to_crop(ramp, matrix, 24)
    rows, columns = np.mgrid[0:24, 0:24]
    wanted = transform_points(invert_affine(matrix), np.stack([columns, rows], -1))
    np.testing.assert_allclose(crop[..., :2], wanted, atol=0.02)


@pytest.mark.parametrize("scale", [0.2, 0.45, 1.0, 3.0])
@pytest.mark.parametrize("at", [(120, 90), (-15, 10), (230, 170)])
def test_cut_from_a_view_reads_no_more_than_it_shows(scale: float, at: tuple[int, int]) -> None:
    picture, size = waves(240, 180), 32
    view = PartialView(picture)
    matrix = np.array([[scale, 0, size / 2 - scale * at[0]], [0, scale, size / 2 - scale * at[1]]])
    crop = cut_from(view, matrix, size)
    assert crop.flags.c_contiguous and crop.shape == (size, size, 3)
    assert view.given <= (size / scale + 6 / min(scale, 1) + 6) ** 2
    np.testing.assert_array_equal(crop, cut_from(picture, matrix, size))


def test_of_each_channel_repeats_the_weights() -> None:
    weights = np.random.default_rng(0).random((5, 7), np.float32)
    np.testing.assert_array_equal(of_each_channel(weights), np.stack([weights] * 3, -1))
