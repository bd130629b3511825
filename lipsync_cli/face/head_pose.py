"""How a head is turned, from 68 landmarks: a weak-perspective fit of the three-dimensional mean face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.face.mean_face import MEAN_FACE
from lipsync_cli.types import Float64

# Contour landmarks slide along the cheek as a head turns and the mouth talks, so both count less.
_WEIGHTS = np.r_[np.full(17, 0.3), np.full(31, 1.0), np.full(20, 0.3)]
_STEPS = 10
# Radians. The steps shrink at least tenfold each, so what the next one would add is less than yaw is ever judged by.
_CLOSE_ENOUGH = 1e-4


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Angles in quarter turns: yaw −1 … 1 (positive: towards the right of the picture), pitch (positive: down),
    roll (positive: clockwise). ``residual`` is the RMS misfit of the landmarks in box widths."""

    yaw: float
    pitch: float
    roll: float
    residual: float


def head_pose(landmarks: npt.ArrayLike) -> HeadPose:
    """Pose of the head with ``landmarks`` ``[68 2]`` in display pixels.

    Weak perspective: rotation, scale, translation. A linear fit starts a few Gauss-Newton steps.
    """
    weights = _WEIGHTS / _WEIGHTS.sum()
    points = np.asarray(landmarks, np.float64)
    image = points - weights @ points
    # z is flipped, so that x right, y down, z into the picture is a right-handed system.
    model = (MEAN_FACE - weights @ MEAN_FACE) * [1, 1, -1]
    scale, rotation = _start(image, model, weights)
    for _ in range(_STEPS):
        turned = model @ rotation.T
        step = _gauss_newton(image - scale * turned[:, :2], turned, scale, weights)
        rotation, scale = _turn(step[:3]) @ rotation, scale + step[3]
        if np.abs(step[:3]).max() < _CLOSE_ENOUGH:
            break
    misfit = image - scale * (model @ rotation.T)[:, :2]
    residual = float(np.sqrt(weights @ (misfit**2).sum(1))) / max(scale, 1e-9)
    return HeadPose(*_angles(rotation), residual)


def _start(image: Float64, model: Float64, weights: Float64) -> tuple[float, Float64]:
    """Scale and rotation nearest to the best linear map, model → image."""
    root = np.sqrt(weights)[:, None]
    linear = np.linalg.lstsq(model * root, image * root, rcond=None)[0].T
    u, d, vt = np.linalg.svd(linear, full_matrices=False)
    rows = u @ vt
    return float(d.mean()), np.vstack([rows, np.cross(rows[0], rows[1])])


def _gauss_newton(misfit: Float64, turned: Float64, scale: float, weights: Float64) -> Float64:
    """Small rotation ``[3]`` and change of scale that reduce the ``misfit`` ``[68 2]``."""
    x, y, z = turned.T
    zero = np.zeros_like(x)
    across = np.stack([zero, scale * z, -scale * y, x])
    down = np.stack([-scale * z, zero, scale * x, y])
    weighted_across, weighted_down = across * weights, down * weights
    normal = weighted_across @ across.T + weighted_down @ down.T
    slope = weighted_across @ misfit[:, 0] + weighted_down @ misfit[:, 1]
    # The ridge only matters to points that no pose fits, where it means: stay.
    return np.asarray(np.linalg.solve(normal + 1e-12 * np.trace(normal) * np.eye(4), slope), np.float64)


def _turn(vector: Float64) -> Float64:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross, np.float64)


def _angles(rotation: Float64) -> tuple[float, float, float]:
    """Yaw, pitch and roll in quarter turns: a head that first turns, then nods, then tilts."""
    yaw = np.arctan2(rotation[2, 0], rotation[2, 2])
    pitch = np.arcsin(np.clip(rotation[2, 1], -1, 1))
    roll = np.arctan2(-rotation[0, 1], rotation[1, 1])
    return tuple(float(angle / (np.pi / 2)) for angle in (yaw, pitch, roll))  # type: ignore[return-value]
