"""What other pixel formats become when they are decoded, and the planes of a decoded frame."""

from __future__ import annotations

from functools import cache
from typing import Any

import av
import numpy as np

from lipsync_cli.core.pixel_formats import PIXEL_FORMATS, PixelFormat
from lipsync_cli.core.types import Plane, UInt8, VideoInfo


@cache
def nearest_supported(pix_fmt: str) -> str:
    """The delivered format for a decoder's ``pix_fmt``; the format itself when it is delivered as it is.

    Others go to the nearest one that loses neither depth nor chroma: nv12 → yuv420p, p010le → yuv420p10le,
    yuv411p → yuv422p, yuv440p → yuv444p, big-endian to little-endian, packed and paletted RGB → gbrp or gbrp10le,
    gray variants → gray or gray10le. Alpha is dropped. Nothing deeper than 12 bits (RGB and gray: 10) is
    delivered, so 14 and 16 bits do lose depth. yuvj440p keeps its full range by way of ``ColorInfo``.
    """
    if pix_fmt in PIXEL_FORMATS:
        return pix_fmt
    form = av.VideoFormat(pix_fmt, 64, 64)
    bits = max((part.bits for part in form.components), default=8)
    if form.is_rgb or form.has_palette or form.is_bayer:
        return "gbrp" if bits <= 8 else "gbrp10le"
    if len(form.components) <= 2:  # luma, perhaps with alpha
        return "gray" if bits <= 8 else "gray10le"
    across, down = 64 // form.chroma_width(64), 64 // form.chroma_height(64)
    digits = "444" if across == 1 else "422" if down == 1 else "420"
    return f"yuv{digits}p" + ("" if bits <= 8 else "10le" if bits <= 10 else "12le")


def decoded_format(info: VideoInfo) -> str:
    """The format of the frames that ``open_frames`` delivers for a stream.

    Still pictures become 8-bit 4:2:0 (4:4:4 when a side is odd), which is what players of the result can show.
    """
    if info.is_still:
        return "yuv420p" if info.width % 2 == info.height % 2 == 0 else "yuv444p"
    return nearest_supported(info.pix_fmt)


def without_j(pix_fmt: str) -> str:
    """The same layout without the deprecated full-range letter: yuvj420p → yuv420p."""
    return pix_fmt.replace("yuvj", "yuv")


def planes_of(frame: av.VideoFrame, fmt: PixelFormat) -> tuple[Plane, ...]:
    """Copies of a decoded frame's planes, contiguous, ``[h w]`` each.

    Decoders pad their rows; readers such as dlib misread strided arrays without a word, hence the copies.
    """
    shapes = fmt.shapes(frame.width, frame.height)
    return tuple(_plane(plane, h, w, fmt) for plane, (h, w) in zip(frame.planes, shapes, strict=False))


def sample_rows(frame: av.VideoFrame, fmt: PixelFormat) -> list[Plane]:
    """The planes of a frame where they lie, padding at the ends of rows included, so that they can be written to."""
    rows = [_rows(plane) for plane in frame.planes][: fmt.planes]
    return [row if fmt.depth == 8 else row.view(np.uint16) for row in rows]


def _plane(plane: av.video.plane.VideoPlane, height: int, width: int, fmt: PixelFormat) -> Plane:
    if fmt.depth == 8:
        return np.ascontiguousarray(_rows(plane)[:height, :width])
    return np.ascontiguousarray(_rows(plane)[:height, : 2 * width]).view(np.uint16)


def _rows(plane: av.video.plane.VideoPlane) -> UInt8:
    buffer: Any = plane  # a buffer at run time, which the stubs do not say
    rows: UInt8 = np.frombuffer(buffer, np.uint8)
    return rows[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)


def packed_rgb(frame: av.VideoFrame) -> UInt8:
    """The pixels of an rgb24 frame, contiguous uint8 ``[h w 3]``."""
    rows = _rows(frame.planes[0])[:, : frame.width * 3]
    return np.ascontiguousarray(rows).reshape(frame.height, frame.width, 3)


def doubled_chroma(planes: tuple[Plane, ...], fmt: PixelFormat) -> tuple[Plane, ...]:
    """The planes as 4:4:4 with every chroma sample repeated, so that the original can be read back exactly."""
    height, width = planes[0].shape
    return (planes[0], *(_repeated(plane, fmt.chroma, height, width) for plane in planes[1:]))


def _repeated(plane: Plane, chroma: tuple[int, int], height: int, width: int) -> Plane:
    rows = np.minimum(np.arange(height) // chroma[1], plane.shape[0] - 1)
    columns = np.minimum(np.arange(width) // chroma[0], plane.shape[1] - 1)
    grown: Plane = plane[rows[:, None], columns]
    return grown
