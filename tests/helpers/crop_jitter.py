"""How much crops swim on a face that does not move: the number that smoothing is judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipsync_cli.core.crop_templates import CropTemplate
from lipsync_cli.core.geometry import invert_affine, transform_points


def corner_jitter(landmarks: Sequence[np.ndarray], template: CropTemplate) -> float:
    """RMS distance, in the pixels of the landmarks, of a crop's corners from their mean over frames.

    ``landmarks`` are ``[68 2]`` per frame, of a face that stands still.
    """
    corners = np.stack([_corners(points, template) for points in landmarks])
    return float(np.sqrt(((corners - corners.mean(0)) ** 2).sum(2).mean()))


def _corners(landmarks: np.ndarray, template: CropTemplate) -> np.ndarray:
    """Where the four corners of the unit crop lie in the picture."""
    to_picture = invert_affine(template.matrix(template.anchors(landmarks), 1))
    return transform_points(to_picture, [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])
