"""Where one shot ends and the next begins, from small thumbnails alone.

Two pictures are compared in two ways. *Layout*: the mean absolute difference of grey thumbnails, each pixel
forgiving a shift by one thumbnail pixel (3 % of the width) and the whole picture a change of brightness and
contrast; so motion, exposure and fades count little. *Colour*: the distance of coarse colour histograms, which
motion leaves alone. A cut must stand out in both, and in layout also from what the last half second of this shot
did, so that a shaking camera does not read as a row of cuts.

What this cannot see: a dissolve between two shots, which has no single first frame. The tracker then notices
that the old face went.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from lipsync_cli.core.types import Float32, RgbView, UInt8

_WIDTH, _HEIGHT = 32, 18
_HISTORY = 12
_SAMPLED_PX = 320
# Layout differences are in grey levels after equalising, colour distances in 0 … 1.
# Within 9384 frames of single shots the largest were 5.8 and 0.20, and never both at once.
_LAYOUT_FLOOR, _COLOR_FLOOR = 7.5, 0.16
# Colours this far apart are another scene even where both show a face in the same place.
_LAYOUT_CERTAIN, _COLOR_CERTAIN = 4.5, 0.45
_STAND_OUT = 4.0


@dataclass(frozen=True, slots=True)
class Signature:
    """What a picture is remembered by: grey thumbnail float32 ``[18 32]`` and root histogram float32 ``[216]``."""

    grey: Float32
    histogram: Float32


def signature(picture: UInt8 | RgbView) -> Signature:
    """Signature of an RGB picture ``[h w 3]``."""
    # Every n-th pixel of a large picture is enough, and much less to read.
    if isinstance(picture, np.ndarray):
        step = max(1, max(picture.shape) // _SAMPLED_PX)
        sampled = np.ascontiguousarray(picture[::step, ::step])
    else:
        sampled = picture.thinned(max(1, max(picture.width, picture.height) // _SAMPLED_PX))
    small = cv2.resize(sampled, (_WIDTH * 2, _HEIGHT * 2), interpolation=cv2.INTER_AREA)
    grey = cv2.resize(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    bins = (small.astype(np.int64) * 6) >> 8
    counts = np.bincount((bins @ [36, 6, 1]).ravel(), minlength=216)
    return Signature(grey.astype(np.float32), np.sqrt(counts / counts.sum()).astype(np.float32))


def layout_difference(a: Signature, b: Signature) -> float:
    """Mean grey-level difference of two thumbnails after matching brightness and contrast, forgiving small shifts."""
    first, second = _equalised(a.grey), _equalised(b.grey)
    return max(_one_way(first, second), _one_way(second, first))


def color_distance(a: Signature, b: Signature) -> float:
    """Hellinger distance of the colour histograms: 0 equal, 1 nothing in common."""
    return float(np.sqrt(max(0.0, 1.0 - float(a.histogram @ b.histogram))))


def _equalised(grey: Float32) -> Float32:
    """Mean 0 and deviation 40, but a nearly uniform picture stays nearly uniform."""
    return cast(Float32, (grey - grey.mean()) * (40.0 / max(float(grey.std()), 12.0)))


def _one_way(a: Float32, b: Float32) -> float:
    padded = cv2.copyMakeBorder(b, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    shifted = np.lib.stride_tricks.as_strided(padded, (3, 3, *b.shape), 2 * padded.strides)
    return float(np.abs(a - shifted).min((0, 1)).mean())


class CutDetector:
    """Says for each picture in turn whether it is the first of a new shot. Holds 12 numbers."""

    def __init__(self) -> None:
        self.previous: Signature | None = None
        self._recent: deque[float] = deque(maxlen=_HISTORY)

    def push(self, new: Signature) -> bool:
        """True when ``new`` does not continue the shot of the pictures before it."""
        previous, self.previous = self.previous, new
        if previous is None:
            return False
        layout, color = layout_difference(previous, new), color_distance(previous, new)
        usual = float(np.median(self._recent)) if self._recent else 0.0
        certain = layout > _LAYOUT_CERTAIN and color > _COLOR_CERTAIN
        stands_out = layout > max(_LAYOUT_FLOOR, _STAND_OUT * usual) and color > _COLOR_FLOOR
        if certain or stands_out:
            self._recent.clear()
            return True
        self._recent.append(layout)
        return False

    @property
    def recent(self) -> tuple[float, ...]:
        """Layout differences of the last frames, to ``resume`` from."""
        return tuple(self._recent)

    def resume(self, previous: Signature, recent: tuple[float, ...]) -> None:
        """Go on as if there had been no cut: ``previous`` is the picture before the next, ``recent`` from before."""
        self.previous = previous
        self._recent = deque(recent, maxlen=_HISTORY)


def same_shot(before: Signature, flash: Signature, after: Signature) -> bool:
    """Whether ``after`` returns to the picture ``before`` a flash or a blank, rather than opening a new shot."""
    back = layout_difference(before, after)
    return back < max(_LAYOUT_FLOOR, 0.5 * layout_difference(before, flash)) and color_distance(before, after) < max(
        _COLOR_FLOOR, 0.5 * color_distance(before, flash)
    )
