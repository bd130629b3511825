"""The mask inside the region that generators write."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.compositing.mask import FEATHER, blend_mask
from lipsync_cli.core.crop_templates import TEMPLATES, CropTemplate
from lipsync_cli.core.mouth_region import generation_region
from tests.helpers.composite_scenes import landmarks


def at(mask: np.ndarray, x: float, y: float) -> float:
    return float(mask[int(y * mask.shape[0]), int(x * mask.shape[1])])


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_mask_lies_in_the_region_of_any_template(template: CropTemplate) -> None:
    mask = blend_mask(landmarks(128), 128, region=template.region)
    assert mask.max() == 1 and not mask[~generation_region(128, template.region)].any()


@pytest.mark.parametrize("size", [64, 96, 192, 256])
def test_mask_stays_inside_the_region(size: int) -> None:
    mask = blend_mask(landmarks(size), size)
    assert mask.dtype == np.float32 and mask.shape == (size, size)
    assert mask.min() == 0 and mask.max() == 1
    assert not mask[~generation_region(size)].any()


def test_mask_covers_mouth_and_dropped_chin_but_not_nose_and_collar() -> None:
    mask = blend_mask(landmarks(192), 192)
    for x, y in [(0.5, 0.51), (0.33, 0.51), (0.67, 0.51), (0.5, 0.80), (0.4, 0.8), (0.6, 0.8)]:
        assert at(mask, x, y) > 0.99
    assert at(mask, 0.5, 0.92) > 0.2
    assert at(mask, 0.5, 0.344) == 0
    assert at(mask, 0.12, 0.9) == 0


def test_mask_has_a_soft_edge() -> None:
    mask = blend_mask(landmarks(192), 192)
    steps = max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1))
    # A smoothstep over the feather climbs at most 1.5 / width a pixel; the diagonal sides add a little.
    assert steps < 1.8 / (FEATHER * 192)


def test_mask_of_a_turned_face_leaves_out_the_background() -> None:
    points = landmarks(192)
    points[9:17, 0] -= 0.15 * 192
    turned, frontal = blend_mask(points, 192), blend_mask(landmarks(192), 192)
    assert at(turned, 0.75, 0.6) < 0.05 < 0.9 < at(frontal, 0.75, 0.6)
    np.testing.assert_array_equal(turned[:, :80], frontal[:, :80])


def test_mask_does_not_follow_a_speaking_jaw() -> None:
    points = landmarks(192)
    points[5:12, 1] += 0.10 * 192
    points[48:, 1] += 0.08 * 192
    np.testing.assert_array_equal(blend_mask(points, 192), blend_mask(landmarks(192), 192))


def jaw(size: int, drop: float = 0.0) -> np.ndarray:
    """A drawn jaw ``[9 2]`` whose chin is ``drop`` crop heights lower than the picture's."""
    points = landmarks(size)[4:13].copy()
    points[:, 1] += drop * size * np.sin(np.linspace(0, np.pi, 9))
    return points


def lower_end(mask: np.ndarray, x: float = 0.5) -> float:
    """The row, in crop heights, below which a column of the mask is 0."""
    return (np.flatnonzero(mask[:, int(x * mask.shape[1])])[-1] + 1) / len(mask)


@pytest.mark.parametrize("size", [96, 192])
def test_mask_ends_close_under_the_lower_chin(size: int) -> None:
    """The picture's chin is at 0.80; whichever chin is lower is covered whole, and a collar below is not touched."""
    for drop, chin in [(-0.06, 0.80), (0.0, 0.80), (0.06, 0.86)]:
        mask = blend_mask(landmarks(size), size, generated_jaw=jaw(size, drop))
        assert at(mask, 0.5, chin) > 0.97
        assert chin + 0.02 < lower_end(mask) < chin + 0.075
    assert lower_end(blend_mask(landmarks(size), size)) > 0.93


def test_mask_is_lowered_by_the_pictures_own_open_mouth_too() -> None:
    points = landmarks(192)
    points[4:13] = jaw(192, 0.08)
    assert lower_end(blend_mask(points, 192, generated_jaw=jaw(192))) > 0.88


def test_mask_only_loses_by_a_generated_jaw() -> None:
    whole, less = blend_mask(landmarks(192), 192), blend_mask(landmarks(192), 192, generated_jaw=jaw(192))
    assert (less <= whole).all()
    np.testing.assert_array_equal(less[:110], whole[:110])


def test_mask_has_a_soft_lower_edge_that_moves_smoothly() -> None:
    mask = blend_mask(landmarks(192), 192, generated_jaw=jaw(192))
    assert max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1)) < 2.2 / (0.6 * FEATHER * 192)
    moved = blend_mask(landmarks(192), 192, generated_jaw=jaw(192) + np.array([0, 0.3]))
    assert np.abs(moved - mask).max() < 0.6 / (0.6 * FEATHER * 192)


def test_mask_moves_smoothly_with_the_landmarks() -> None:
    points = landmarks(192)
    before = blend_mask(points, 192)
    for shift in (0.05, 0.3, 1.0):
        moved = points + np.array([shift, 0])
        assert np.abs(blend_mask(moved, 192) - before).max() < 1.8 * shift / (FEATHER * 192)


@pytest.mark.parametrize("bad", [np.full((68, 2), np.nan), np.zeros((5, 2))])
def test_mask_refuses_bad_landmarks(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="68 finite"):
        blend_mask(bad, 96)
    with pytest.raises(ValueError, match="feather"):
        blend_mask(landmarks(96), 96, feather=0)
