"""The upright, normalised patch on which one face is read, instead of on the frame.

Resampling a face to ``PATCH_FACE_PX`` averages the frame's noise. The patch is turned upright first, so that a tilted
head is read as well as a straight one. A *pose* is the similarity ``[2 3]`` from the unit box of MEAN_FACE to display
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.geometry import (
    compose_affine,
    cut_from,
    invert_affine,
    similarity_from_points,
    transform_points,
)
from lipsync_cli.core.types import Box, Float64, RgbView, UInt8
from lipsync_cli.faces.mean_face import MEAN_FACE

PATCH_PX = 160
PATCH_FACE_PX = 100
PATCH_MARGIN_PX = (PATCH_PX - PATCH_FACE_PX) / 2
# From the unit box of MEAN_FACE, whose corners are pixel edges, to pixel centres of the patch.
UNIT_TO_PATCH: Float64 = np.array(
    [[PATCH_FACE_PX, 0, PATCH_MARGIN_PX - 0.5], [0, PATCH_FACE_PX, PATCH_MARGIN_PX - 0.5]]
)
# Brows, nose and eyes: what speech does not move.
RIGID = slice(17, 48)


@dataclass(frozen=True, slots=True)
class FacePatch:
    """A face cut out upright: RGB ``[160 160 3]``, its box 100 px wide, and the display→patch ``matrix``."""

    rgb: UInt8
    matrix: Float64


def cut_patch(picture: UInt8 | RgbView, to_display: Float64, pose: Float64) -> FacePatch:
    """Cut out the face at ``pose``; ``picture`` is RGB as stored, ``to_display`` ``[2 3]`` maps its pixels."""
    matrix = compose_affine(UNIT_TO_PATCH, invert_affine(pose))
    return FacePatch(cut_from(picture, compose_affine(matrix, to_display), PATCH_PX), matrix)


def pose_of_box(box: Box) -> Float64:
    """The upright pose of a face in a square-ish ``box`` (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    side = (x1 - x0 + y1 - y0) / 2
    return np.array([[side, 0, (x0 + x1 - side) / 2], [0, side, (y0 + y1 - side) / 2]])


def pose_of_landmarks(landmarks: npt.ArrayLike) -> Float64:
    """The pose that best lays the mean face's brows, eyes and nose on ``landmarks`` ``[68 2]``."""
    points = np.asarray(landmarks, np.float64)
    return similarity_from_points(MEAN_FACE[RIGID, :2], points[RIGID])


def shape_residual(landmarks: npt.ArrayLike, pose: Float64) -> float:
    """RMS distance of the rigid landmarks ``[68 2]`` from the mean face laid on them by ``pose``, in box widths."""
    points = transform_points(invert_affine(pose), np.asarray(landmarks, np.float64)[RIGID])
    return float(np.sqrt(((points - MEAN_FACE[RIGID, :2]) ** 2).sum(1).mean()))
