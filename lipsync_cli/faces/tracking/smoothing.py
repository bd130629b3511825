"""Temporal smoothing of landmarks: a still face must not swim, a moving one must not lag.

The landmarks of each frame are split into where the face is (the pose, a similarity) and its shape there (in unit
box coordinates). Poses are smoothed with weights that fall off with time and with distance moved, so that a
fast move narrows the window by itself; around uneven weights (the first and last frames of a track) a weighted
straight line is fitted instead of a mean, which follows steady motion without lag. Shapes are averaged over the
same frames, the mouth over fewer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import Float64

POSE_SIGMA_S = 0.08
SHAPE_SIGMA_S = 0.10
MOUTH_SIGMA_S = 0.03
# In box widths. Landmarks of a still face differ by about 0.002.
MOVED_SIGMA = 0.04
# How well the slope must be supported before it is believed: in seconds, small against the window.
_SLOPE_RIDGE_S = 0.03
_SPEECH = slice(48, 68)


def smooth(landmarks: Sequence[Float64], poses: Sequence[Float64], times: Sequence[float], centre: int) -> Float64:
    """Landmarks ``[68 2]`` at ``times[centre]`` from the raw ones around it; times in seconds, increasing.

    ``poses`` is ``pose_of_landmarks`` of each.
    """
    if len(landmarks) == 1:
        return landmarks[0]
    apart = np.asarray(times, np.float64) - times[centre]
    rows = np.stack(poses)
    near = _fall_off(_moved(rows, centre), MOVED_SIGMA)
    pose = _pose(rows, apart, _fall_off(apart, POSE_SIGMA_S) * near)
    shapes = (np.stack(landmarks) - rows[:, None, :, 2]) @ np.linalg.inv(rows[:, :, :2]).transpose(0, 2, 1)
    shape = _mean(shapes, _fall_off(apart, SHAPE_SIGMA_S) * near)
    shape[_SPEECH] = _mean(shapes[:, _SPEECH], _fall_off(apart, MOUTH_SIGMA_S))
    return transform_points(pose, shape)


def _fall_off(distance: Float64, sigma: float) -> Float64:
    return np.asarray(np.exp(-0.5 * (distance / sigma) ** 2), np.float64)


def _mean(values: Float64, weights: Float64) -> Float64:
    return np.asarray(np.tensordot(weights / weights.sum(), values, 1), np.float64)


def _moved(poses: Float64, centre: int) -> Float64:
    """RMS distance of the unit box's corners from where they are in the centre frame, in box widths."""
    box = np.array([[0.0, 0.0], [1, 0], [0, 1], [1, 1]])
    corners = box @ poses[:, :, :2].transpose(0, 2, 1) + poses[:, None, :, 2]
    width = float(np.linalg.norm(poses[centre][:, 0]))
    return np.asarray(np.sqrt(((corners - corners[centre]) ** 2).sum(2).mean(1)) / max(width, 1e-6), np.float64)


def _pose(rows: Float64, apart: Float64, weights: Float64) -> Float64:
    """Weighted straight line through the poses' numbers, at time 0. Where weights are even it is their mean."""
    share = weights / weights.sum()
    mean = np.tensordot(share, rows, 1)
    middle = float(share @ apart)
    spread = float(share @ (apart - middle) ** 2)
    slope = np.tensordot(share * (apart - middle), rows, 1) / (spread + _SLOPE_RIDGE_S**2)
    return np.asarray(mean - middle * slope, np.float64)
