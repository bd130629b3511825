"""What a dub did to the frame's edge, which it should leave alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lipsync_cli.core.types import UInt8
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure
from lipsync_cli.evaluation.measures.psnr import psnr, require_same_shape
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import SOURCE

BORDER_SHARE = 0.1


def border_error(a: UInt8, b: UInt8) -> float:
    """Mean squared difference of pictures ``[h w 3]``, in levels², in a ring a tenth of the shorter side wide."""
    require_same_shape(a, b)
    inside = np.zeros(a.shape[:2], bool)
    width = max(1, round(BORDER_SHARE * min(a.shape[:2])))
    inside[width:-width, width:-width] = True
    difference = a[~inside].astype(np.float64) - b[~inside].astype(np.float64)
    return float(np.square(difference).mean())


class BorderPsnr(Measure):
    """PSNR of the mean squared error over all borders."""

    metrics = (
        Metric(
            name="border_psnr",
            title="Border PSNR",
            better="higher",
            digits=1,
            section="picture",
            needs=(SOURCE,),
            meaning="outer tenth of the frame against the source, dB",
            shown="clips",
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._errors: list[float] = []

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        if frames.source is not None:
            self._errors.append(border_error(frames.result.rgb, frames.source.rgb))

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        return {"border_psnr": psnr(float(np.mean(self._errors))) if self._errors else None}
