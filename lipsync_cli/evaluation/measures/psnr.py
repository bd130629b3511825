"""PSNR: how close two pictures are, level by level. Pictures are uint8 ``[h w 3]``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lipsync_cli.core.types import UInt8
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import TRUTH

PEAK = 255.0


def psnr(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit levels; infinite for equal pictures."""
    return float(10 * np.log10(PEAK**2 / mean_squared_error)) if mean_squared_error > 0 else float("inf")


def squared_error(a: UInt8, b: UInt8) -> float:
    """Mean squared difference in levels². Raises ValueError for unequal shapes."""
    require_same_shape(a, b)
    return float(np.square(a.astype(np.float64) - b.astype(np.float64)).mean())


def require_same_shape(a: UInt8, b: UInt8) -> None:
    """ValueError for pictures of unequal shapes."""
    if a.shape != b.shape:
        raise ValueError(f"pictures of unequal shapes cannot be compared: {a.shape} and {b.shape}")


class Psnr(Measure):
    """PSNR of the mean squared error over all lower faces."""

    metrics = (
        Metric(
            name="psnr",
            title="PSNR",
            better="higher",
            digits=1,
            section="picture",
            needs=(TRUTH,),
            shown="clips",
            meaning="lower-face crop against the truth, dB",
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._errors: list[float] = []

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        if frames.at_truth is not None:
            self._errors.append(squared_error(*frames.at_truth))

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        return {"psnr": psnr(float(np.mean(self._errors))) if self._errors else None}
