"""Where the faces are in one picture: what a detector is shown, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from lipsync_cli.core.types import Box, Float64, Frame, RgbView, UInt8, VideoInfo

_DUPLICATE_IOU = 0.4


@dataclass(frozen=True, slots=True)
class Detection:
    """A face: a square-ish ``box`` x0, y0, x1, y1 from mid-forehead to chin, and the detector's own score."""

    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class AnalysisPicture:
    """A small, upright, square-pixel copy of a frame, and its affine ``to_display`` map ``[2 3]``."""

    picture: UInt8
    to_display: Float64

    def display_box(self, box: Box) -> Box:
        """A box of the picture in display pixels."""
        (ax, _, tx), (_, ay, ty) = self.to_display.tolist()
        return (box[0] * ax + tx, box[1] * ay + ty, box[2] * ax + tx, box[3] * ay + ty)


def pixels(frame: Frame) -> UInt8:
    """All of the RGB view of a frame, ``[h w 3]`` in storage orientation; ValueError once it has been let go."""
    view = view_of(frame)
    return view if isinstance(view, np.ndarray) else view.whole()


def view_of(frame: Frame) -> UInt8 | RgbView:
    """The RGB view of a frame, whole or made where it is read; ValueError once it has been let go."""
    if frame.rgb is None:
        raise ValueError(f"{frame!r} has no RGB view left")
    return frame.rgb


def analysis_picture(frame: Frame, info: VideoInfo, long_side: int) -> AnalysisPicture:
    """Shrink ``frame.rgb`` to at most ``long_side`` pixels along its longer side in display, and turn it upright."""
    picture = pixels(frame)
    width, height = info.display_size
    scale = min(1.0, long_side / max(width, height))
    out_w, out_h = max(1, round(width * scale)), max(1, round(height * scale))
    stored = (out_h, out_w) if info.rotation in (90, 270) else (out_w, out_h)
    if (picture.shape[1], picture.shape[0]) != stored:
        picture = cast(UInt8, cv2.resize(picture, stored, interpolation=cv2.INTER_AREA))
    upright = np.ascontiguousarray(np.rot90(picture, -info.rotation // 90))
    sx, sy = width / out_w, height / out_h
    return AnalysisPicture(upright, np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5]]))


def iou(a: Box, b: Box) -> float:
    """Area of the intersection of two boxes over that of their union, 0 … 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total


def non_max_suppression(detections: Iterable[Detection]) -> list[Detection]:
    """Best first, each dropped that overlaps a better one. Equal scores keep left-to-right order."""
    best: list[Detection] = []
    for found in sorted(detections, key=lambda d: (-d.score, d.box)):
        if all(iou(found.box, other.box) < _DUPLICATE_IOU for other in best):
            best.append(found)
    return best
