"""Landmarks fitted to a face of a frame, near where it is expected, and whether they can be that face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from lipsync_cli.core.geometry import invert_affine, transform_points
from lipsync_cli.core.types import Box, Float32, Float64, Frame, UInt8, VideoInfo
from lipsync_cli.faces.detection import view_of
from lipsync_cli.faces.detectors.protocol import LandmarkPredictor
from lipsync_cli.faces.face_patch import (
    PATCH_FACE_PX,
    PATCH_MARGIN_PX,
    FacePatch,
    cut_patch,
    pose_of_landmarks,
    shape_residual,
)
from lipsync_cli.faces.head_pose import HeadPose, head_pose

MIN_SIMILARITY = 0.6
"""The same face from frame to frame has a similarity of 0.9 and more, a wall or another face 0.5 and less."""
_APPEARANCE_PX = 24
_FACE = slice(int(PATCH_MARGIN_PX), int(PATCH_MARGIN_PX) + PATCH_FACE_PX)
_MAX_RESIDUAL = 0.12
_MAX_GROWTH = 1.25
# Beyond this shift, in box widths, the patch was badly placed and is cut again.
_RECUT = 0.06


@dataclass(frozen=True, slots=True)
class LandmarkFit:
    """Raw ``landmarks`` ``[68 2]`` in display pixels, their ``pose`` (unit box → display) and head pose.

    ``patch`` is what they were read from, ``appearance`` ``[24 24]`` what it shows; ``similarity`` is how that
    correlates, −1 … 1, with the appearance that was expected, or 1 where none was.
    """

    landmarks: Float64
    pose: Float64
    patch: FacePatch
    head: HeadPose
    appearance: Float32
    similarity: float

    @property
    def box(self) -> Box:
        """Upright square around the pose."""
        return box_of_pose(self.pose)

    @property
    def in_patch(self) -> Float64:
        """The landmarks ``[68 2]`` in pixels of the patch."""
        return transform_points(self.patch.matrix, self.landmarks)

    @property
    def width_px(self) -> float:
        """Width of the unit box in display pixels."""
        return float(np.linalg.norm(self.pose[:, 0]))


class LandmarkFitter:
    """Fits landmarks in frames of one video."""

    def __init__(self, info: VideoInfo, predictor: LandmarkPredictor) -> None:
        self._to_display = info.to_display
        self._predictor = predictor

    def fit(self, frame: Frame, pose: Float64, appearance: Float32 | None, *, passes: int = 2) -> LandmarkFit:
        """The face near ``pose``, which is read up to ``passes`` times: again where it lay far from there.

        Raises ValueError for a frame whose RGB view has been let go.
        """
        picture = view_of(frame)
        for turn in range(passes):
            patch = cut_patch(picture, self._to_display, pose)
            landmarks = transform_points(invert_affine(patch.matrix), self._predictor.predict(patch.rgb))
            previous, pose = pose, pose_of_landmarks(landmarks)
            # A face without an expected appearance is new, and worth a second pass however near it lay.
            if (turn or appearance is not None) and _shift(previous, pose) < _RECUT:
                break
        found = appearance_of(patch.rgb)
        similarity = 1.0 if appearance is None else correlation(found, appearance)
        return LandmarkFit(landmarks, pose, patch, head_pose(landmarks), found, similarity)


def plausible(fit: LandmarkFit, before: Float64, display: tuple[int, int]) -> bool:
    """Whether a fit can be the face that had the pose ``before``: shape, size and place all agree.

    ``display`` is the picture's width and height.
    """
    growth = fit.width_px / max(float(np.linalg.norm(before[:, 0])), 1e-6)
    if not 1 / _MAX_GROWTH < growth < _MAX_GROWTH or shape_residual(fit.landmarks, fit.pose) > _MAX_RESIDUAL:
        return False
    x, y = transform_points(fit.pose, [[0.5, 0.5]])[0].tolist()
    return bool(0 <= x < display[0] and 0 <= y < display[1])


def appearance_of(patch: UInt8) -> Float32:
    """The face of a patch ``[160 160 3]`` in grey, ``[24 24]``, mean 0 and norm 1."""
    grey = cv2.cvtColor(np.ascontiguousarray(patch[_FACE, _FACE]), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_APPEARANCE_PX, _APPEARANCE_PX), interpolation=cv2.INTER_AREA)
    return normalised(small.astype(np.float32))


def normalised(grey: Float32) -> Float32:
    """The values shifted and scaled to mean 0 and norm 1."""
    centred = grey - grey.mean()
    return cast(Float32, centred / max(float(np.linalg.norm(centred)), 1e-6))


def correlation(a: Float32, b: Float32) -> float:
    """Normalised cross-correlation of two appearances, −1 … 1."""
    return float((a * b).sum())


def box_of_pose(pose: Float64) -> Box:
    """Upright square box, as wide as the pose's unit box, around its centre."""
    half = float(np.linalg.norm(pose[:, 0])) / 2
    x, y = transform_points(pose, [[0.5, 0.5]])[0].tolist()
    return (x - half, y - half, x + half, y + half)


def _shift(a: Float64, b: Float64) -> float:
    """Largest move of a corner of the unit box between two poses, in widths of the second."""
    box = np.array([[0.0, 0.0], [1, 0], [0, 1], [1, 1]])
    moved = np.linalg.norm(transform_points(a, box) - transform_points(b, box), axis=1)
    return float(moved.max() / max(float(np.linalg.norm(b[:, 0])), 1e-6))
