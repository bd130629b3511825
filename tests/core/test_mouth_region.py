"""The part of a crop that generators write."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lipsync_cli.core.mouth_region import (
    LATENTSYNC_REGION,
    LOWER_FACE_REGION,
    Region,
    generation_region,
    region_depth,
    unit_grid,
)


@pytest.mark.parametrize("size", [64, 96, 192, 256])
def test_generation_region_is_the_agreed_superellipse(size: int) -> None:
    region = generation_region(size)
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    pixel = 1 / size
    assert (rows[0] + 0.5) / size == pytest.approx(0.36, abs=pixel)
    assert (rows[-1] + 0.5) / size == pytest.approx(0.97, abs=pixel)
    assert (columns[0] + 0.5) / size == pytest.approx(0.10, abs=pixel)
    assert (columns[-1] + 0.5) / size == pytest.approx(0.90, abs=pixel)


@pytest.mark.parametrize("region", [LOWER_FACE_REGION, LATENTSYNC_REGION])
@pytest.mark.parametrize("size", [64, 192])
def test_region_window_holds_all_of_it_and_no_empty_row(region: Region, size: int) -> None:
    inside = generation_region(size, region)
    assert inside[region.window(size)].sum() == inside.sum() > 0
    rows, columns = region.window(size)
    assert inside[rows.start : rows.start + 2].any() and inside[rows.stop - 2 : rows.stop].any()
    assert inside[:, columns.start : columns.start + 2].any() and inside[:, columns.stop - 2 : columns.stop].any()


def test_region_window_stays_in_the_crop() -> None:
    rows, columns = Region((0.5, 0.9), (0.7, 0.3), 2.0).window(100)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (60, 100, 0, 100)


def test_region_radius_is_1_on_the_border() -> None:
    region = LOWER_FACE_REGION
    (x, y), (a, b) = region.centre, region.half_size
    np.testing.assert_allclose(region.radius([x + a, x, x - a], [y, y - b, y]), 1.0)
    assert region.radius(x, y) == 0


def test_region_depth_is_positive_inside_and_the_distance_at_the_border() -> None:
    size = 256
    depth, inside = region_depth(size), generation_region(size)
    assert (depth > 0)[inside].all() and (depth <= 0)[~inside].all()
    column, row = LOWER_FACE_REGION.centre
    along = depth[int(row * size), :64]
    expected = unit_grid(size)[:64] - (column - LOWER_FACE_REGION.half_size[0])
    near = np.abs(expected) < 0.03
    np.testing.assert_allclose(along[near], expected[near], atol=0.002)


def test_masks_are_shared_so_nobody_may_write_to_them() -> None:
    for array in (generation_region(64), region_depth(64)):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    assert generation_region(64) is generation_region(64)


def test_mouth_region_imports_nothing_heavy() -> None:
    heavy = ("torch", "cv2", "av", "scipy")
    program = f"import sys, lipsync_cli.core.mouth_region; print(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "False"
