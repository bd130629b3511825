"""A still face does not swim, a moving one does not lag."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.faces.face_patch import pose_of_landmarks
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.faces.tracking.smoothing import smooth
from tests.helpers.crop_jitter import corner_jitter

RATE = 25.0
SPAN = 3


def smoothed(readings: list[np.ndarray], span: int = SPAN) -> list[np.ndarray]:
    out = []
    for i in range(len(readings)):
        first, last = max(0, i - span), min(len(readings), i + span + 1)
        near, times = readings[first:last], [j / RATE for j in range(first, last)]
        out.append(smooth(near, [pose_of_landmarks(points) for points in near], times, i - first))
    return out


def face_at(x: float, y: float = 200.0, width: float = 250.0) -> np.ndarray:
    return MEAN_FACE[:, :2] * width + [x, y]


def test_smoothing_calms_a_trembling_still_face() -> None:
    rng = np.random.default_rng(0)
    raw = [face_at(100) + rng.normal(0, 0.5, (68, 2)) + rng.normal(0, 0.3, 2) for _ in range(60)]
    calm = smoothed(raw)
    assert corner_jitter(calm[SPAN:-SPAN], LOWER_FACE) < 0.45 * corner_jitter(raw, LOWER_FACE)
    assert corner_jitter(calm, LOWER_FACE) < 0.5 * corner_jitter(raw, LOWER_FACE)


@pytest.mark.parametrize("speed", [1.0, 5.0])
def test_smoothing_follows_steady_motion_without_lag(speed: float) -> None:
    truth = [face_at(100 + speed * i) for i in range(20)]
    error = [np.abs(a - b).max() for a, b in zip(smoothed(truth), truth, strict=True)]
    assert max(error[SPAN:-SPAN]) < 0.05
    # At the ends only a part of the slope is believed.
    assert max(error) < 0.45 * speed


def test_smoothing_does_not_smear_a_jump() -> None:
    truth = [face_at(100 if i < 10 else 180) for i in range(20)]
    assert max(np.abs(a - b).max() for a, b in zip(smoothed(truth), truth, strict=True)) < 0.5


def test_smoothing_keeps_the_amplitude_of_shaking() -> None:
    truth = [face_at(100 + 20 * np.sin(2 * np.pi * 1.5 * i / RATE)) for i in range(50)]
    error = [np.abs(a - b).max() for a, b in zip(smoothed(truth), truth, strict=True)]
    assert max(error) < 3.0


def test_smoothing_lets_the_mouth_open_in_time() -> None:
    truth = []
    for i in range(20):
        points = face_at(100)
        points[65:68, 1] += 12.0 if i == 10 else 0.0
        truth.append(points)
    lips = [points[66, 1] - truth[0][66, 1] for points in smoothed(truth)]
    assert lips[10] > 6.0
    assert int(np.argmax(lips)) == 10


def test_smoothing_leaves_a_lone_frame() -> None:
    only = face_at(10)
    assert smooth([only], [pose_of_landmarks(only)], [0.0], 0) is only
