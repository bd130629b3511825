"""Angles of projected mean faces are read back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lipsync_cli.faces.head_pose import head_pose
from lipsync_cli.faces.mean_face import MEAN_FACE


def projected(yaw: float, pitch: float, roll: float, scale: float = 180.0) -> np.ndarray:
    """The mean face turned by degrees (yaw to the right, pitch down, roll clockwise) and seen from afar."""
    model = (MEAN_FACE - 0.5) * [1, 1, -1]
    return (Rotation.from_euler("ZXY", [roll, pitch, -yaw], degrees=True).apply(model) * scale)[:, :2] + 300


@given(yaw=st.floats(-70, 70), scale=st.floats(20, 800))
def test_head_pose_reads_yaw_back(yaw: float, scale: float) -> None:
    assert head_pose(projected(yaw, 0, 0, scale)).yaw * 90 == pytest.approx(yaw, abs=0.1)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 20, 0), (0, 0, -25), (30, 10, 0), (-40, -15, 0)])
def test_head_pose_has_the_documented_signs(yaw: float, pitch: float, roll: float) -> None:
    found = head_pose(projected(yaw, pitch, roll))
    assert found.yaw * 90 == pytest.approx(yaw, abs=5)
    assert found.pitch * 90 == pytest.approx(pitch, abs=5)
    assert found.roll * 90 == pytest.approx(roll, abs=5)
    assert found.residual < 1e-3


def test_head_pose_moves_little_with_noise() -> None:
    rng = np.random.default_rng(0)
    yaws = [head_pose(projected(20, 0, 0, 100) + rng.normal(0, 0.5, (68, 2))).yaw * 90 for _ in range(50)]
    assert np.std(yaws) < 1.0
