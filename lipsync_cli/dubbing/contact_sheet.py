"""The contact sheet of a dub: source above result, whole and zoomed on the dubbed mouth, at even distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lipsync_cli.core.contact_sheets import ContactSheet
from lipsync_cli.core.geometry import invert_affine, transform_points
from lipsync_cli.core.types import Box, Frame, UInt8, VideoInfo
from lipsync_cli.dubbing.segments import Slot
from lipsync_cli.media.frame_rgb import frame_rgb


class BeforeAfterSheet:
    """Fed with every frame before and after; see ``ContactSheet`` for what is held."""

    def __init__(self, info: VideoInfo, *, columns: int = 10) -> None:
        self._info = info
        self._sheet = ContactSheet(columns=columns)

    def add(self, slot: Slot, result: Frame) -> None:
        """A frame as it was, with the patches it got, and as it became."""
        self._sheet.add(
            result.time,
            lambda: self._upright(slot.frame),
            lambda: self._upright(result),
            zoom=self._mouth(slot),
        )

    def save(self, path: Path) -> None:
        """Write the sheet as PNG."""
        self._sheet.save(path)

    def _upright(self, frame: Frame) -> UInt8:
        turned = np.rot90(frame_rgb(frame, self._info.color), -self._info.rotation // 90)
        return np.ascontiguousarray(turned)

    def _mouth(self, slot: Slot) -> Box:
        """The dubbed crop's lower part in the upright picture, or the middle of a frame without one."""
        width, height = self._info.display_size
        if not slot.patches:
            return (width * 0.3, height * 0.3, width * 0.7, height * 0.7)
        alignment = slot.patches[0].source.alignment
        corners = np.array([[0.15, 0.33], [0.85, 0.33], [0.15, 0.95], [0.85, 0.95]]) * alignment.size
        display = transform_points(self._info.to_display, transform_points(invert_affine(alignment.matrix), corners))
        # The upright picture is not stretched to square pixels; undo that axis only.
        scale = self._info.sample_aspect_ratio
        display[:, 0 if self._info.rotation in (0, 180) else 1] /= float(scale)
        low, high = display.min(0), display.max(0)
        return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
