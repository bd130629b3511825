"""A strip of moments of a scored clip: the lower face before and after, and both mouths enlarged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lipsync_cli.core.contact_sheets import ContactSheet
from lipsync_cli.core.errors import OutputError
from lipsync_cli.core.types import UInt8
from lipsync_cli.evaluation.clip_reader import CROP_SIZE, recut
from lipsync_cli.evaluation.measure import MatchedFrames

COLUMNS = 10
HEIGHT = 140
_JPEG_QUALITY = 85
# Square, so that the enlarged mouth fills its cell.
_MOUTH = tuple(v * CROP_SIZE / 16 for v in (3, 4, 13, 14))


class Strip:
    """Collects up to ten moments, spread over whatever length is offered; each picture is ``height`` pixels high."""

    def __init__(self, height: int = HEIGHT) -> None:
        self._sheet = ContactSheet(COLUMNS, height=height)
        self._empty = True

    def add(self, frames: MatchedFrames) -> None:
        """A scored frame and the same frame before dubbing; without one the clip is shown twice."""
        result = frames.result
        crop = (frames.source or result).crop
        if crop is None:
            return
        self._empty = False
        x0, y0, x1, y1 = _MOUTH
        self._sheet.add(result.time, crop.rgb, lambda: recut(result.rgb, crop), zoom=(x0, y0, x1, y1))

    def render(self) -> UInt8:
        """The strip as RGB uint8 ``[h w 3]``."""
        return self._sheet.render()

    def save(self, path: Path) -> str:
        """Write the strip as JPEG; the file's name, empty when there was nothing to show."""
        if self._empty:
            return ""
        bgr = np.ascontiguousarray(self.render()[..., ::-1])
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            raise OutputError(f"The picture {path} cannot be written: {error.strerror}.") from error
        return path.name
