"""Colour and detail of a generated crop against the picture around it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipsync_cli.compositing.color_match import (
    DETAIL_SIGMA,
    MAX_SHIFT,
    MAX_VARIATION,
    axis_operators,
    color_field,
    grow,
    shrink,
    smooth,
    with_detail,
)
from lipsync_cli.compositing.mask import blend_mask
from lipsync_cli.core.mouth_region import LOWER_FACE_REGION
from tests.helpers.composite_scenes import landmarks, smooth_rgb

SIZE = 96
WINDOW = LOWER_FACE_REGION.window(SIZE)
MASK = blend_mask(landmarks(SIZE), SIZE)[WINDOW]
SOURCE = smooth_rgb(SIZE, SIZE)[WINDOW]


@pytest.mark.parametrize("shift", [(0.05, 0.05, 0.05), (0.1, -0.05, 0.0)])
def test_color_field_is_what_is_missing_all_over(shift: tuple[float, float, float]) -> None:
    field = color_field(SOURCE - np.float32(shift), SOURCE, MASK)
    np.testing.assert_allclose(field, np.broadcast_to(np.float32(shift), field.shape), atol=1e-3)


def test_color_field_follows_light_that_changes_across_the_face() -> None:
    slope = np.linspace(-0.04, 0.04, SOURCE.shape[1], dtype=np.float32)[None, :, None]
    field = color_field(SOURCE - slope, SOURCE, MASK)
    middle = field[field.shape[0] // 2].mean(-1)
    assert middle[0] < -0.02 and middle[-1] > 0.02
    assert (np.diff(middle) > -5e-4).all()


def test_color_field_is_bounded_whatever_is_generated() -> None:
    noise = np.random.default_rng(0).random(SOURCE.shape, np.float32)
    for generated in (noise, np.zeros_like(SOURCE), np.ones_like(SOURCE)):
        assert np.abs(color_field(generated, SOURCE, MASK)).max() <= MAX_SHIFT + MAX_VARIATION + 1e-6


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_color_field_without_an_edge_to_read_is_zero(level: float) -> None:
    assert not color_field(SOURCE * 0.5, SOURCE, np.full_like(MASK, level)).any()


def test_with_detail_leaves_the_picture_where_nothing_changed() -> None:
    color, alpha = with_detail(SOURCE, SOURCE, SIZE)
    np.testing.assert_array_equal(alpha, 0)
    np.testing.assert_array_equal(color, 0)


def test_with_detail_over_its_own_source_is_what_was_generated() -> None:
    generated = np.random.default_rng(0).random(SOURCE.shape, np.float32)
    color, alpha = with_detail(generated, SOURCE, SIZE)
    smoothed = SOURCE * (1 - alpha[..., None]) + color
    assert np.abs(smoothed - generated)[alpha > 0.99].max() < 0.02
    assert alpha.min() >= 0 and alpha.max() <= 1


def test_with_detail_replaces_something_new_and_only_that() -> None:
    generated = SOURCE.copy()
    generated[20:30, 30:50] = 0.05
    color, alpha = with_detail(generated, SOURCE, SIZE)
    assert alpha[23:27, 34:46].min() > 0.95
    assert alpha[:8].max() < 0.01
    np.testing.assert_allclose(SOURCE * (1 - alpha[..., None]) + color, generated, atol=0.35)


@pytest.mark.parametrize(("height", "width", "size"), [(118, 154, 192), (117, 155, 193), (40, 52, 64), (13, 17, 20)])
def test_axis_operators_do_what_opencv_does(height, width, size):
    image = np.random.default_rng(0).random((height, width), np.float32)
    rows, columns = axis_operators(height, size), axis_operators(width, size)
    cells = shrink(image, (len(columns.shrink), len(rows.shrink)))
    np.testing.assert_allclose(rows.shrink @ image @ columns.shrink.T, cells, atol=1e-5)
    np.testing.assert_allclose(rows.grow @ cells @ columns.grow.T, grow(cells, (width, height)), atol=1e-5)
    blurred = smooth(image, DETAIL_SIGMA * size)
    np.testing.assert_allclose(rows.smooth @ image @ columns.smooth.T, blurred, atol=1e-5)
    spread = cv2.GaussianBlur(cells, (0, 0), 2.0, borderType=cv2.BORDER_CONSTANT) / 2
    np.testing.assert_allclose(rows.diffuse[1] @ cells @ columns.diffuse[1].T, spread, atol=1e-5)
