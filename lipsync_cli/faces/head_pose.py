"""How a head is turned, from 68 landmarks: a weak-perspective fit of the three-dimensional mean face."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import Float64
from lipsync_cli.faces.mean_face import MEAN_FACE

# Contour landmarks slide along the cheek as a head turns and the mouth talks, so both count less.
_WEIGHTS = np.r_[np.full(17, 0.3), np.full(31, 1.0), np.full(20, 0.3)]
_WEIGHTS /= _WEIGHTS.sum()
_ROOT = np.sqrt(_WEIGHTS)[:, None]
# z is flipped, so that x right, y down, z into the picture is a right-handed system.
_MODEL = (MEAN_FACE - _WEIGHTS @ MEAN_FACE) * [1, 1, -1]
_FIT = np.linalg.pinv(_MODEL * _ROOT)
# The fit needs no more of the points than these weighted sums of products, [3 3], and those with the image, [2 3].
_MOMENTS = (_MODEL.T * _WEIGHTS) @ _MODEL
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
    weights, model = _WEIGHTS, _MODEL
    points = np.asarray(landmarks, np.float64)
    image = points - weights @ points
    scale, rotation = _start(image)
    cross = (image.T * weights) @ model
    for _ in range(_STEPS):
        step = _gauss_newton(cross @ rotation.T, rotation @ _MOMENTS @ rotation.T, scale)
        rotation, scale = _turn(step[:3]) @ rotation, scale + step[3]
        if np.abs(step[:3]).max() < _CLOSE_ENOUGH:
            break
    misfit = image - scale * (model @ rotation.T)[:, :2]
    residual = float(np.sqrt(weights @ (misfit**2).sum(1))) / max(scale, 1e-9)
    return HeadPose(*_angles(rotation), residual)


def _start(image: Float64) -> tuple[float, Float64]:
    """Scale and rotation nearest to the best linear map, model → image."""
    u, d, vt = np.linalg.svd((_FIT @ (image * _ROOT)).T, full_matrices=False)
    (ax, ay, az), (bx, by, bz) = rows = u @ vt
    return float(d.mean()), np.vstack([rows, [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]])


def _gauss_newton(cross: Float64, moments: Float64, scale: float) -> Float64:
    """Small rotation ``[3]`` and change of scale that reduce the misfit.

    ``cross`` ``[2 3]`` sums products of the image's coordinates and the turned model's, ``moments`` ``[3 3]`` those
    of the turned model's among themselves.
    """
    s = scale
    (xx, _, xz), (_, yy, yz), (_, _, zz) = moments.tolist()
    (_, ey, ez), (fx, _, fz) = left = (cross - s * moments[:2]).tolist()  # products with the misfit
    # Turning moves a point by s·(z, 0, −x) … in the image, growing by (x, y): the products of those movements.
    normal = np.array(
        [
            [s * s * zz, 0.0, -s * s * xz, -s * yz],
            [0.0, s * s * zz, -s * s * yz, s * xz],
            [-s * s * xz, -s * s * yz, s * s * (xx + yy), 0.0],
            [-s * yz, s * xz, 0.0, xx + yy],
        ]
    )
    slope = np.array([-s * fz, s * ez, s * (fx - ey), left[0][0] + left[1][1]])
    # The ridge only matters to points that no pose fits, where it means: stay.
    return np.asarray(np.linalg.solve(normal + 1e-12 * np.trace(normal) * np.eye(4), slope), np.float64)


def _turn(vector: Float64) -> Float64:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = (vector / angle).tolist()
    sin, rest = math.sin(angle), 1 - math.cos(angle)
    return np.array(
        [
            [1 - rest * (y * y + z * z), rest * x * y - sin * z, rest * x * z + sin * y],
            [rest * x * y + sin * z, 1 - rest * (x * x + z * z), rest * y * z - sin * x],
            [rest * x * z - sin * y, rest * y * z + sin * x, 1 - rest * (x * x + y * y)],
        ]
    )


def _angles(rotation: Float64) -> tuple[float, float, float]:
    """Yaw, pitch and roll in quarter turns: a head that first turns, then nods, then tilts."""
    yaw = np.arctan2(rotation[2, 0], rotation[2, 2])
    pitch = np.arcsin(np.clip(rotation[2, 1], -1, 1))
    roll = np.arctan2(-rotation[0, 1], rotation[1, 1])
    return tuple(float(angle / (np.pi / 2)) for angle in (yaw, pitch, roll))  # type: ignore[return-value]
