"""SSIM: how close two pictures are in light and structure. Pictures are uint8 ``[h w 3]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import cv2
import numpy as np

from lipsync_cli.core.types import Float64, UInt8
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure, mean_or_none
from lipsync_cli.evaluation.measures.psnr import PEAK, require_same_shape
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import TRUTH

# Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment", section III-C.
SIGMA, WINDOW = 1.5, 11
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def ssim(a: UInt8, b: UInt8) -> float:
    """Structural similarity in [−1, 1], mean over channels and pixels whose whole 11 × 11 window is inside.

    Gaussian window of σ 1.5, population covariances, as in the paper. Raises ValueError for unequal shapes or sides
    below 11 pixels.
    """
    require_same_shape(a, b)
    if min(a.shape[:2]) < WINDOW:
        raise ValueError(f"SSIM needs sides of at least {WINDOW} pixels, got {a.shape[1]}×{a.shape[0]}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x, var_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (var_x + var_y + C2)
    edge = WINDOW // 2
    return float((light * structure)[edge:-edge, edge:-edge].mean())


def _windowed(values: Float64) -> Float64:
    # OpenCV's stubs forget that the dtype is kept.
    return cast(
        Float64,
        cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT),
    )


class Ssim(Measure):
    """Mean SSIM of lower faces."""

    metrics = (
        Metric(
            name="ssim",
            title="SSIM",
            better="higher",
            section="picture",
            needs=(TRUTH,),
            shown="clips",
            meaning="lower-face crop against the truth",
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._similarities: list[float] = []

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        if frames.at_truth is not None:
            self._similarities.append(ssim(*frames.at_truth))

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        return {"ssim": mean_or_none(self._similarities)}
