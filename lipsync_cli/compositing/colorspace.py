"""The affine map from RGB to the code values of a pixel format's planes.

RGB is nonlinear (gamma-encoded) R'G'B' in [0, 1], so every format is one 3 × 3 matrix, one offset and one sampling
grid per plane. Sources: ITU-R BT.601-7, BT.709-6, BT.2020-2 (non-constant luminance) and, for chroma positions,
H.273.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.pixel_formats import PixelFormat, Siting
from lipsync_cli.core.types import ColorInfo, Float32, Float64, Plane

LEFT_SITED_CODECS = frozenset({"h264", "hevc", "mpeg2video", "mpeg4"})
"""Codecs whose decoders declare left-sited chroma unless the stream says otherwise (measured with ffmpeg 8)."""
LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def chroma_siting(codec: str) -> Siting:
    """Where the RGB view of a decoded frame takes subsampled chroma to sit.

    That view, made by swscale, is what crops are cut from, so chroma has to be written back to the very same
    place. It follows the frame's declared location, and the block's centre where a decoder declares none. A
    stream that overrides its codec's custom is misjudged by half a luma pixel, in colour only.
    """
    return "left" if codec in LEFT_SITED_CODECS else "center"


@dataclass(frozen=True, slots=True)
class RgbToPlanes:
    """``code = linear @ rgb + offset``: ``linear`` ``[p 3]`` and ``offset`` ``[p]``, planes in storage order."""

    linear: Float32
    offset: Float32

    @property
    def weighted(self) -> Float32:
        """``[p 4]`` over (r, g, b, weight), the colours multiplied by the weight: colours and the offset they carry
        in one pass."""
        return np.column_stack([self.linear, self.offset])

    @property
    def layers(self) -> Float32:
        """``weighted`` as ``[4 4]``, since OpenCV is quick with square ones: zeros for planes that are not there, and
        last the weight itself."""
        square = np.zeros((4, 4), np.float32)
        square[: len(self.linear)] = self.weighted
        square[3, 3] = 1
        return square


@lru_cache(maxsize=32)
def rgb_to_planes(fmt: PixelFormat, color: ColorInfo) -> RgbToPlanes:
    """The map into ``fmt`` under ``color``. RGB formats are full range whatever the file says.

    Raises InputError for a matrix other than bt601, bt709, bt2020 (and rgb, which only RGB formats use).
    """
    if fmt.family == "gbr":
        return RgbToPlanes(np.float32(fmt.peak) * np.eye(3, dtype=np.float32)[[1, 2, 0]], np.zeros(3, np.float32))
    if color.matrix not in LUMA_WEIGHTS and fmt.family == "yuv":
        raise InputError(f"The colour matrix {color.matrix!r} is not one of {', '.join(LUMA_WEIGHTS)}.")
    linear = _ycbcr(*LUMA_WEIGHTS.get(color.matrix, LUMA_WEIGHTS["bt601"]))
    full = color.full_range or fmt.full_range
    unit = 1 << (fmt.depth - 8)
    scale = np.array([fmt.peak] * 3 if full else [219 * unit, 224 * unit, 224 * unit], np.float64)
    offset = np.array([0 if full else 16 * unit, 128 * unit, 128 * unit], np.float32)
    planes = fmt.planes
    return RgbToPlanes((linear * scale[:, None])[:planes].astype(np.float32), offset[:planes])


def _ycbcr(kr: float, kb: float) -> Float64:
    """Rows Y in [0, 1], Cb and Cr in [−½, ½], for the luma weights of red and blue."""
    luma = np.array([kr, 1 - kr - kb, kb])
    blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kb))
    red = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kr))
    return np.stack([luma, blue, red])


def to_codes(values: Float32, fmt: PixelFormat) -> Plane:
    """Values rounded to the nearest code of ``fmt``; those beyond its ends are clipped."""
    clipped = np.clip(values, 0, fmt.peak)
    return cast(Plane, np.rint(clipped, out=clipped).astype(fmt.dtype))
