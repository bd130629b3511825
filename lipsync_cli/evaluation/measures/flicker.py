"""How much a lower face flickers: by how much still pixels leave and come back. Pictures are uint8 ``[h w 3]``."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from lipsync_cli.core.mouth_region import LOWER_FACE_REGION
from lipsync_cli.core.types import Crop, UInt8
from lipsync_cli.evaluation.clip_reader import recut
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure, mean_or_none
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import SOURCE

STILL_LEVELS = 4.0


def flicker(before: UInt8, now: UInt8, after: UInt8) -> float | None:
    """How far still pixels leave and come back, in levels; None where nothing is still.

    A pixel is still when the frames around it differ by no more than four levels; what moves does not count.
    """
    past, present, future = (picture.astype(np.float32) for picture in (before, now, after))
    still = np.abs(future - past) <= STILL_LEVELS
    if not still.any():
        return None
    return float(np.abs(present - (past + future) / 2)[still].mean())


class FlickerSeries:
    """Flicker over three consecutive frames, all cut where the middle one's face lies; holds three frames."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, UInt8, Crop | None]] = deque(maxlen=3)
        self.values: list[float] = []

    def add(self, index: int, rgb: UInt8, crop: Crop | None) -> None:
        """The next frame and where its face lies."""
        self._last.append((index, rgb, crop))
        if len(self._last) < 3 or self._last[0][0] != index - 2:
            return
        middle = self._last[1][2]
        if middle is None or self._last[0][2] is None or crop is None:
            return
        rows, columns = LOWER_FACE_REGION.window(middle.alignment.size)
        cut = [recut(rgb, middle)[rows, columns] for _, rgb, _ in self._last]
        value = flicker(cut[0], cut[1], cut[2])
        if value is not None:
            self.values.append(value)


class Flicker(Measure):
    """Mean flicker, and its ratio to the source's where that has its face; holds nine frames."""

    metrics = (
        Metric(
            name="flicker",
            title="Flicker",
            better="lower",
            digits=2,
            section="picture",
            shown="table",
            meaning="levels by which still pixels of the lower face leave and come back",
        ),
        Metric(
            name="flicker_ratio",
            title="Flicker ratio",
            better="one",
            digits=2,
            section="picture",
            needs=(SOURCE,),
            meaning="flicker over that of the same frames of the source",
            shown="clips",
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._own, self._result, self._source = FlickerSeries(), FlickerSeries(), FlickerSeries()

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        result, source = frames.result, frames.source
        self._own.add(result.index, result.rgb, result.crop)
        if source is not None:
            self._result.add(result.index, result.rgb, source.crop)
            self._source.add(source.index, source.rgb, source.crop)

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        result, source = mean_or_none(self._result.values), mean_or_none(self._source.values)
        ratio = result / source if result is not None and source else None
        return {"flicker": mean_or_none(self._own.values), "flicker_ratio": ratio}
