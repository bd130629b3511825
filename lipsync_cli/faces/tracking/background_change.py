"""Whether somebody may have come in: what changed outside the faces that are followed anyway.

A search of the whole picture costs much more than all else that tracking does in a frame, and where the camera stands
still it finds the same faces over and over. A newcomer changes the picture where nobody was followed, so a search can
wait until a thumbnail shows such a change.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lipsync_cli.core.geometry import invert_affine, transform_points
from lipsync_cli.core.types import Box, Float32, VideoInfo

# In grey levels. Noise and compression move a thumbnail's pixel by 1 or 2; the smallest face a detector finds covers
# four by four of them.
_CHANGE = 5.0
# In box widths, beside and above a face: there its owner moves, and there is no room for another whole face.
_AROUND = 1.0


class BackgroundChange:
    """Compares thumbnails of one video's frames, float32 grey ``[h w]``, in storage orientation."""

    def __init__(self, info: VideoInfo) -> None:
        self._to_storage = invert_affine(info.to_display)
        self._size = info.width, info.height
        self._bottom = info.display_size[1] - 0.5

    def changed(self, before: Float32, now: Float32, faces: Iterable[Box]) -> bool:
        """Whether any pixel of the thumbnails differs clearly away from the ``faces``, boxes in display pixels.

        The part below a face belongs to it, as the body that moves with it.
        """
        different = np.abs(now - before) > _CHANGE
        for box in faces:
            different[self._around(box, now.shape)] = False
        return bool(different.any())

    def _around(self, box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """The thumbnail's pixels that lie wholly near a face or below it."""
        margin = _AROUND * (box[2] - box[0])
        corners = [[box[0] - margin, box[1] - margin], [box[2] + margin, self._bottom]]
        scale = np.array([shape[1], shape[0]]) / self._size
        ends = (transform_points(self._to_storage, corners) + 0.5) * scale
        low, high = np.ceil(ends.min(0)).clip(0).astype(int), np.floor(ends.max(0)).clip(0).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0])
