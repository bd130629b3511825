"""Crop templates: which landmarks hold a crop still, where they land in it, and which part of it is generated.

``LOWER_FACE`` is the embedded model's window (eyes at the top edge, room for a dropped jaw at the bottom);
``LATENTSYNC`` is the brow-brow-nose template of LatentSync and Lip Forcing, 75 × 100 units with its anchors at
(17, 20), (58, 20) and (37.5, 40), which those engines then resize, anisotropically, to a square. An engine that needs
another brings it along in its ``ModelSpec``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.geometry import Array, similarity_from_points
from lipsync_cli.core.landmarks68 import LEFT_BROW, LEFT_EYE, NOSE, NOSE_BASE, RIGHT_BROW, RIGHT_EYE
from lipsync_cli.core.mouth_region import LATENTSYNC_REGION, LOWER_FACE_REGION, Region


@dataclass(frozen=True, slots=True)
class CropTemplate:
    """How a face is cut out, and the ``region`` of the crop that may be generated.

    ``groups`` are three groups of landmark indices that speech does not move, ``points`` where their means land, in
    fractions of the crop's width and height; ``aspect`` is width over height before any resize to a square.
    """

    name: str
    groups: tuple[Sequence[int], Sequence[int], Sequence[int]]
    points: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    region: Region
    aspect: float = 1.0

    def anchors(self, landmarks: npt.ArrayLike) -> Array:
        """The three anchors ``[3 2]`` in frame pixels, from 68 landmarks ``[68 2]``."""
        points = np.asarray(landmarks, np.float64)
        return np.stack([points[list(group)].mean(0) for group in self.groups])

    def matrix(self, anchors: npt.ArrayLike, size: int) -> Array:
        """Frame→crop similarity ``[2 3]`` for a crop ``size`` pixels high, from anchors ``[3 2]``.

        Unit coordinates span pixel edges, so that (0, 0) is the outer corner of the first pixel.
        """
        target = np.asarray(self.points) * [size * self.aspect, size] - 0.5
        return similarity_from_points(anchors, target)


LOWER_FACE = CropTemplate(
    "lower-face",
    (LEFT_EYE, RIGHT_EYE, NOSE_BASE),
    ((0.30, 0.08), (0.70, 0.08), (0.50, 0.344)),
    LOWER_FACE_REGION,
)
LATENTSYNC = CropTemplate(
    "latentsync",
    (LEFT_BROW, RIGHT_BROW, NOSE),
    ((17 / 75, 0.20), (58 / 75, 0.20), (37.5 / 75, 0.40)),
    LATENTSYNC_REGION,
    aspect=0.75,
)
TEMPLATES = {template.name: template for template in (LOWER_FACE, LATENTSYNC)}


def crop_template(which: CropTemplate | str) -> CropTemplate:
    """The template called ``which``, or ``which`` itself if it is one; ValueError for a name that none has."""
    if isinstance(which, CropTemplate):
        return which
    if which not in TEMPLATES:
        raise ValueError(f"there is no crop template called {which!r}, only {', '.join(TEMPLATES)}")
    return TEMPLATES[which]
