"""Planes are grouped by where their samples sit. What backends promise is in tests/contract."""

from __future__ import annotations

import numpy as np

from lipsync_cli.compositing.protocol import PlaneTarget, by_sample_grid
from lipsync_cli.compositing.warp import PatchWindow


def test_by_sample_grid_groups_planes_whose_samples_coincide() -> None:
    codes, window, luma = np.zeros((2, 2), np.uint8), PatchWindow(0, 0, 2, 2), np.eye(2, 3)
    targets = [PlaneTarget(plane, codes, window, luma * (1 if plane == 0 else 2)) for plane in range(3)]
    assert [[target.plane for target in group] for group in by_sample_grid(targets)] == [[0], [1, 2]]
    assert list(by_sample_grid([])) == []
