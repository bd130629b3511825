"""The 68 face landmarks of dlib and iBUG 300-W: which index is what, and measures that need nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

JAW = range(4, 13)
LEFT_BROW, RIGHT_BROW = range(17, 22), range(22, 27)
NOSE, NOSE_BASE = range(27, 36), range(31, 36)
LEFT_EYE, RIGHT_EYE = range(36, 42), range(42, 48)
MOUTH = range(48, 68)


def interocular_px(landmarks: npt.ArrayLike) -> float:
    """Distance between the eye centres of 68 landmarks ``[68 2]``, in pixels."""
    points = np.asarray(landmarks, np.float64)
    return float(np.linalg.norm(points[list(LEFT_EYE)].mean(0) - points[list(RIGHT_EYE)].mean(0)))


def mouth_aperture(landmarks: npt.ArrayLike) -> float:
    """Mean of the three inner-lip distances (61-67, 62-66, 63-65) over the inter-ocular distance."""
    points = np.asarray(landmarks, np.float64)
    return float(lip_gap(points)) / max(interocular_px(points), 1e-6)


def lip_gap(landmarks: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Mean of the three inner-lip distances ``[...]`` of landmarks ``[... 68 2]``, in their units."""
    apart = landmarks[..., [61, 62, 63], :] - landmarks[..., [67, 66, 65], :]
    return np.asarray(np.linalg.norm(apart, axis=-1).mean(-1))


def from_closed_to_open(apertures: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """``count`` indices into ``apertures`` ``[n]``, spread evenly over those that occur; of equals the first."""
    order = np.argsort(apertures, kind="stable")
    return np.asarray(order[np.linspace(0, len(order) - 1, count).round().astype(int)])
