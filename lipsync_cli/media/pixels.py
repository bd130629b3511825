"""Pixel formats: which ones frames are delivered in, how their planes lie, and what other formats become."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import av
import numpy as np

from lipsync_cli.types import Plane, UInt8, VideoInfo

_SUBSAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How a delivered format lies in memory: ``chroma`` is the (horizontal, vertical) subsampling factor."""

    name: str
    bits: int
    planes: int
    chroma: tuple[int, int]
    is_rgb: bool = False

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """uint8 for 8 bits, else uint16."""
        return np.uint8 if self.bits == 8 else np.uint16

    def shapes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """``(h, w)`` of each plane; chroma of an odd size is rounded up."""
        small = -(-height // self.chroma[1]), -(-width // self.chroma[0])
        return ((height, width), small, small)[: self.planes]

    def frame_bytes(self, width: int, height: int) -> int:
        """Bytes of one frame's planes without padding."""
        return sum(h * w for h, w in self.shapes(width, height)) * (1 if self.bits == 8 else 2)


def _layouts() -> dict[str, PixelLayout]:
    found = [PixelLayout("gray", 8, 1, (1, 1)), PixelLayout("gray10le", 10, 1, (1, 1))]
    found += [PixelLayout("gbrp", 8, 3, (1, 1), True), PixelLayout("gbrp10le", 10, 3, (1, 1), True)]
    for digits, chroma in _SUBSAMPLING.items():
        found.append(PixelLayout(f"yuv{digits}p", 8, 3, chroma))
        found.append(PixelLayout(f"yuvj{digits}p", 8, 3, chroma))
        found += [PixelLayout(f"yuv{digits}p{bits}le", bits, 3, chroma) for bits in (10, 12)]
    return {layout.name: layout for layout in found}


LAYOUTS = _layouts()


def layout_of(pix_fmt: str) -> PixelLayout:
    """The layout of a delivered format; ValueError for one that frames never come in."""
    try:
        return LAYOUTS[pix_fmt]
    except KeyError:
        raise ValueError(f"{pix_fmt} is not a delivered pixel format; those are {', '.join(LAYOUTS)}") from None


@cache
def nearest_supported(pix_fmt: str) -> str:
    """The delivered format for a decoder's ``pix_fmt``; the format itself when it is delivered as it is.

    Others go to the nearest one that loses neither depth nor chroma: nv12 → yuv420p, p010le → yuv420p10le,
    yuv411p → yuv422p, yuv440p → yuv444p, big-endian to little-endian, packed and paletted RGB → gbrp or gbrp10le,
    gray variants → gray or gray10le. Alpha is dropped. Nothing deeper than 12 bits (RGB and gray: 10) is
    delivered, so 14 and 16 bits do lose depth. yuvj440p keeps its full range by way of ``ColorInfo``.
    """
    if pix_fmt in LAYOUTS:
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


def planes_of(frame: av.VideoFrame, layout: PixelLayout) -> tuple[Plane, ...]:
    """Copies of a decoded frame's planes, contiguous, ``[h w]`` each.

    Decoders pad their rows; readers such as dlib misread strided arrays without a word, hence the copies.
    """
    shapes = layout.shapes(frame.width, frame.height)
    return tuple(_plane(plane, h, w, layout) for plane, (h, w) in zip(frame.planes, shapes, strict=False))


def _plane(plane: av.video.plane.VideoPlane, height: int, width: int, layout: PixelLayout) -> Plane:
    if layout.bits == 8:
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


def doubled_chroma(planes: tuple[Plane, ...], layout: PixelLayout) -> tuple[Plane, ...]:
    """The planes as 4:4:4 with every chroma sample repeated, so that the original can be read back exactly."""
    height, width = planes[0].shape
    return (planes[0], *(_repeated(plane, layout.chroma, height, width) for plane in planes[1:]))


def _repeated(plane: Plane, chroma: tuple[int, int], height: int, width: int) -> Plane:
    rows = np.minimum(np.arange(height) // chroma[1], plane.shape[0] - 1)
    columns = np.minimum(np.arange(width) // chroma[0], plane.shape[1] - 1)
    grown: Plane = plane[rows[:, None], columns]
    return grown
