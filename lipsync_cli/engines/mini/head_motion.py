"""How a head is held, as far as its landmarks tell after the crop was aligned, and what that does to mouth and jaw.

A crop undoes shift, roll and size. Turning and nodding are left: they move the outline of the cheeks by up to a tenth
of the crop, and with it the wall, hair or collar beside them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lipsync_cli.core.landmarks68 import JAW
from lipsync_cli.core.types import Float32, Float64

# Of the 68 landmarks: the outline above the mouth's height, which speech does not move, and the foot of the nose.
OUTLINE, NOSE_FOOT = (1, 2, 3, 13, 14, 15), tuple(range(31, 36))
# A difference of outlines counts so much of one of lips when references are chosen.
POSE_SHARE = 0.2


class Pose(NamedTuple):
    """In crop fractions: ``outline`` ``[6 2]``, ``nose`` ``[2]``, and from left to right ``jaw_columns`` ``[9]``."""

    outline: Float32
    nose: Float32
    jaw_columns: Float32

    @classmethod
    def of(cls, landmarks: Float64, size: int) -> Pose:
        """From landmarks ``[68 2]`` in pixels of a crop of ``size``."""
        at = ((landmarks + 0.5) / size).astype(np.float32)
        return cls(at[list(OUTLINE)], at[list(NOSE_FOOT)].mean(0), at[list(JAW), 0])

    @classmethod
    def mean(cls, poses: list[Pose]) -> Pose:
        """The one in the middle."""
        outline, nose, columns = (np.stack(parts).mean(0) for parts in zip(*poses, strict=True))
        return cls(outline, nose, columns)

    def distance(self, others: list[Pose]) -> Float32:
        """Squared, ``[n]``: what to add to the squared distance of lips."""
        gaps = np.stack([other.outline for other in others]) - self.outline
        return np.asarray(POSE_SHARE**2 * np.square(gaps).sum(-1).mean(-1), np.float32)

    def offset_from(self, home: Pose) -> tuple[Float32, float]:
        """How far a mouth ``[2]`` that spoke at ``home`` is carried, and how far down the jaw."""
        return self.nose - home.nose, float((self.outline - home.outline)[:, 1].mean())
