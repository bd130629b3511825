"""A frame's planes as RGB, for pictures of a result rather than for analysis."""

from __future__ import annotations

import av
import numpy as np

from lipsync_cli.core.types import ColorInfo, Frame, UInt8
from lipsync_cli.media.color import RgbConverter


def frame_rgb(frame: Frame, color: ColorInfo) -> UInt8:
    """uint8 ``[h w 3]`` of a frame's planes as they stand, in storage orientation."""
    height, width = frame.planes[0].shape
    picture = av.VideoFrame(width, height, frame.pix_fmt)
    for target, plane in zip(picture.planes, frame.planes, strict=True):
        rows = np.frombuffer(target, np.uint8).reshape(-1, target.line_size)  # type: ignore[call-overload]
        packed = np.ascontiguousarray(plane).view(np.uint8)
        rows[: packed.shape[0], : packed.shape[1]] = packed
    return RgbConverter(color).rgb(picture)
