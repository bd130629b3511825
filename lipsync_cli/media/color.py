"""Colour tags in ffmpeg's words, the matrix they resolve to, and conversion of decoded frames to RGB."""

from __future__ import annotations

from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from lipsync_cli.core.pixel_formats import PIXEL_FORMATS
from lipsync_cli.core.types import ColorInfo, UInt8
from lipsync_cli.media.pixels import packed_rgb, planes_of

_MATRICES = {
    0: "rgb", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c", 14: "ictcp",
}  # fmt: skip
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "jedec-p22",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084",
    17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
_RANGES = {1: "tv", 2: "pc"}
_RESOLVED = {
    "bt709": "bt709", "smpte240m": "bt709", "fcc": "bt601", "bt470bg": "bt601", "smpte170m": "bt601",
    "bt2020nc": "bt2020", "bt2020c": "bt2020",
}  # fmt: skip
_SWS_MATRIX = {"bt709": 1, "bt601": 5, "bt2020": 9}
# Chroma is interpolated and rounding is exact: swscale's quick path is darker by two levels on average.
_EXACT = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND

RGB_COLOR = ColorInfo("rgb", True)
STILL_COLOR = ColorInfo("bt709", False, "tv", "bt709", "bt709", "bt709")
"""Colours of the frames that a still picture is turned into."""


def color_info(frame: av.VideoFrame, context: av.VideoCodecContext | None = None) -> ColorInfo:
    """Tags of a decoded frame, or of its stream where the frame has none, with the matrix resolved.

    Untagged pictures below 720 lines count as bt601, others as bt709; RGB formats have no matrix and full range.
    """
    name = frame.format.name
    stream: Any = context or frame
    matrix = _MATRICES.get(_pick(frame.colorspace, stream.colorspace))
    tag_range = _RANGES.get(_pick(frame.color_range, stream.color_range, unset=0))
    tags = (
        matrix,
        _PRIMARIES.get(_pick(frame.color_primaries, stream.color_primaries)),
        _TRANSFERS.get(_pick(frame.color_trc, stream.color_trc)),
    )
    if frame.format.is_rgb or frame.format.has_palette:
        return ColorInfo("rgb", True, tag_range, *tags)
    full = tag_range == "pc" or name.startswith("yuvj")
    # A YUV picture tagged as RGB is mistagged.
    resolved = _RESOLVED.get(matrix or "") or ("bt601" if frame.height < 720 else "bt709")
    return ColorInfo(resolved, full, "pc" if full else tag_range, None if matrix == "rgb" else tags[0], *tags[1:])


def _pick(of_frame: int, of_stream: int, unset: int = 2) -> int:
    return int(of_frame) if int(of_frame) != unset else int(of_stream)


class RgbConverter:
    """Turns frames of one stream into contiguous RGB with that stream's matrix and range. Not for two threads.

    ``threads`` share the work on one frame; 0: as many as there are cores.
    """

    def __init__(self, color: ColorInfo, *, threads: int = 0) -> None:
        self._color, self._threads = color, threads
        self._reformatter = VideoReformatter()
        self._table: UInt8 | None = None

    def rgb(self, frame: av.VideoFrame) -> UInt8:
        """uint8 ``[h w 3]`` of a frame in a delivered format."""
        fmt = PIXEL_FORMATS[frame.format.name]
        if fmt.planes == 1:
            return self._gray(frame)
        if fmt.is_rgb:
            return packed_rgb(self.convert(frame, "rgb24", full_range=True))
        # swscale has vector code for exact conversion to planes only: the same values in half the time.
        green, blue, red = planes_of(self.convert(frame, "gbrp", full_range=True), PIXEL_FORMATS["gbrp"])
        return np.asarray(cv2.merge([red, green, blue]), np.uint8)

    def convert(
        self, frame: av.VideoFrame, pix_fmt: str, *, full_range: bool | None = None, matrix: str | None = None
    ) -> av.VideoFrame:
        """The frame in another format; matrix and range stay unless others are named."""
        source = _SWS_MATRIX.get(self._color.matrix, 1)
        is_rgb = self._color.matrix == "rgb"
        source_range = 2 if self._color.full_range or is_rgb else 1
        target_range = source_range if full_range is None else 2 if full_range else 1
        return self._reformatter.reformat(
            frame,
            format=pix_fmt,
            src_colorspace=source,
            dst_colorspace=_SWS_MATRIX[matrix] if matrix else source,
            src_color_range=source_range,
            dst_color_range=target_range,
            interpolation=_EXACT,
            threads=self._threads,
        )

    def _gray(self, frame: av.VideoFrame) -> UInt8:
        # swscale takes any gray for full range, so gray goes through a table instead.
        fmt = PIXEL_FORMATS[frame.format.name]
        if self._table is None:
            level = np.arange(1 << fmt.depth, dtype=np.float64) / (1 << (fmt.depth - 8))
            shown = level if self._color.full_range else (level - 16) * (255 / 219)
            self._table = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
        luma = self._table[planes_of(frame, fmt)[0]]
        return np.ascontiguousarray(np.repeat(luma[:, :, None], 3, axis=2))
