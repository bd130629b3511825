"""Whether something is in front of the mouth: a lower face unlike any this track has shown before.

The lower face is reduced to a grid of colours in the upright face's own coordinates. Each track keeps a few
examples that differ from one another (mouth open, closed, teeth, turned a little) and how much each cell
usually varies. *Novelty* is the distance to the nearest example, counted in usual variations, with a change of
overall brightness forgiven. Speech stays near its examples; a hand, a cup or a microphone is near none,
even a hand of the very same skin colour, for it hides the lips and draws edges where cheeks are smooth.

A head turned or nodded further than the track has shown before is new for that reason alone, so it is learned from
unless it is altogether alien. A track that begins with its mouth covered has nothing else to compare with and is not
recognised as covered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np

from lipsync_cli.core.geometry import compose_affine, invert_affine
from lipsync_cli.core.types import Float32, Float64, UInt8
from lipsync_cli.faces.face_patch import FacePatch
from lipsync_cli.faces.head_pose import HeadPose

# Part of the unit box: from under the nose to the chin, from mouth corner to mouth corner and as much again.
_X0, _X1, _Y0, _Y1 = 0.2, 0.8, 0.58, 1.02
_COLUMNS, _ROWS, _CELL_PX = 12, 9, 4
# In 6200 frames of 42 clips of talking people one frame in a thousand exceeded 0.9; painted hands of the
# speaker's own skin colour exceeded 0.92 in 98 frames of a hundred (median 1.4), painted microphones 1.5 always.
_COVERED, _FREE_AGAIN = 1.0, 0.85
# More than any turn of a head has shown.
_ALIEN = 1.6
_LEARN_BELOW = 0.8
_NEW_EXAMPLE, _MAX_EXAMPLES = 0.5, 16
_LEAST_LEARNED = 40
# What stays this long is a new appearance (another light, a mask) rather than a passing hand.
_NEW_APPEARANCE_S = 5.0
# How far beyond the angles it was learned at, in quarter turns, a lower face can be judged.
_TURN_SLACK = 0.06
# In units of 8-bit CIELAB, colour counted 1.5 times.
_NOISE, _FIRST_VARIATION, _SLOWEST_RATE = 5.0, 8.0, 0.04


def lower_face(patch: FacePatch, pose: Float64) -> Float32:
    """The lower face of a ``patch`` as a grid of colours, float32 ``[108 3]``; ``pose`` maps unit box → display."""
    width, height = _COLUMNS * _CELL_PX, _ROWS * _CELL_PX
    sx, sy = width / (_X1 - _X0), height / (_Y1 - _Y0)
    from_unit = np.array([[sx, 0, -_X0 * sx - 0.5], [0, sy, -_Y0 * sy - 0.5]])
    from_patch = compose_affine(from_unit, compose_affine(invert_affine(pose), invert_affine(patch.matrix)))
    region = cv2.warpAffine(patch.rgb, from_patch, (width, height), borderMode=cv2.BORDER_REPLICATE)
    lab = cv2.cvtColor(cast(UInt8, region), cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 1:] *= 1.5
    cells = cv2.resize(lab, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
    return cast(Float32, cells.reshape(-1, 3))


@dataclass(slots=True)
class OcclusionModel:
    """What one track's lower face looks like when nothing is in front of it.

    ``examples`` and ``mean`` are grids of colours ``[108 3]``, ``variation`` ``[108]`` how much each cell usually
    differs from the mean; ``learned`` counts the frames behind them, ``least`` and ``most`` are the yaw and pitch
    that they cover, in quarter turns.
    """

    examples: list[Float32] = field(default_factory=list)
    mean: Float32 | None = None
    variation: Float32 = field(default_factory=lambda: np.full(_COLUMNS * _ROWS, _FIRST_VARIATION, np.float32))
    learned: int = 0
    least: tuple[float, float] = (1.0, 1.0)
    most: tuple[float, float] = (-1.0, -1.0)
    covered_since: float | None = None

    def update(self, cells: Float32, head: HeadPose, time: float) -> bool:
        """Whether something is in front of the ``cells`` ``[108 3]`` at ``time`` seconds; learns from them if not."""
        novelty = self.novelty(cells)
        if self.learned >= _LEAST_LEARNED and novelty > self._limit(head):
            self.covered_since = time if self.covered_since is None else self.covered_since
            if time - self.covered_since < _NEW_APPEARANCE_S:
                return True
            self.examples, self.mean, self.learned = [], None, 0
        self.covered_since = None
        if novelty < _LEARN_BELOW or self.learned < _LEAST_LEARNED or not self._knows(head):
            self._learn(cells, head, novelty)
        return False

    def _limit(self, head: HeadPose) -> float:
        """The novelty that speech stays below: less once something is in front, more for a newly turned head."""
        if self.covered_since is not None:
            return _FREE_AGAIN
        return _COVERED if self._knows(head) else _ALIEN

    def _knows(self, head: HeadPose) -> bool:
        """Whether the lower face was learned at about this turn and nod of the head."""
        angles = zip((head.yaw, head.pitch), self.least, self.most, strict=True)
        return all(least - _TURN_SLACK <= angle <= most + _TURN_SLACK for angle, least, most in angles)

    def novelty(self, cells: Float32) -> float:
        """Distance of ``cells`` to the nearest example, in usual variations capped at 4 per cell; 0 without any."""
        if not self.examples:
            return 0.0
        apart = _difference(cells, np.stack(self.examples)) / (_NOISE + 1.5 * self.variation)
        return float(np.minimum(apart, 4).mean(-1).min())

    def _learn(self, cells: Float32, head: HeadPose, novelty: float) -> None:
        self.least = (min(self.least[0], head.yaw), min(self.least[1], head.pitch))
        self.most = (max(self.most[0], head.yaw), max(self.most[1], head.pitch))
        if not self.examples or novelty > _NEW_EXAMPLE:
            self.examples = [*self.examples, cells][-_MAX_EXAMPLES:]
        mean = cells if self.mean is None else self.mean
        self.learned += 1
        rate = np.float32(max(_SLOWEST_RATE, 1 / self.learned))
        self.variation = self.variation + rate * (_difference(cells, mean) - self.variation)
        self.mean = mean + rate * (cells - mean)


def _difference(a: Float32, b: Float32) -> Float32:
    """Colour difference per cell, ``[... 108]``, with the overall change of brightness forgiven."""
    apart = a - b
    apart[..., 0] -= np.median(apart[..., 0], axis=-1, keepdims=True)
    return cast(Float32, np.abs(apart).sum(-1))
