"""How sharp a mouth is, against the real one. Pictures are RGB uint8 ``[h w 3]``."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from lipsync_cli.core.types import UInt8
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure, mean_or_none
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import SOURCE

# The mouth in a lower-face crop, in sixteenths: the same window that the sync expert looks at.
_MOUTH = (6, 12, 3, 13)


def mouth_box(crop: UInt8) -> UInt8:
    """The mouth's part of a lower-face crop ``[s s 3]``."""
    unit = crop.shape[0] / 16
    top, bottom, left, right = (round(v * unit) for v in _MOUTH)
    return crop[top:bottom, left:right]


def sharpness(picture: UInt8) -> float:
    """Variance of the Laplacian of the grey picture, in levels²."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    return float(np.var(np.asarray(cv2.Laplacian(grey, cv2.CV_64F))))


class Sharpness(Measure):
    """Mean sharpness of the mouth over that of the source's."""

    metrics = (
        Metric(
            name="sharpness_ratio",
            title="Sharpness",
            better="one",
            digits=2,
            section="picture",
            needs=(SOURCE,),
            meaning="variance of the Laplacian at the mouth over the real mouth's",
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._result: list[float] = []
        self._source: list[float] = []

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        if frames.at_source is not None:
            result, source = frames.at_source
            self._result.append(sharpness(mouth_box(result)))
            self._source.append(sharpness(mouth_box(source)))

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        result, source = mean_or_none(self._result), mean_or_none(self._source)
        return {"sharpness_ratio": result / source if result is not None and source else None}
