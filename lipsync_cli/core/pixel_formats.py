"""Pixel formats that frames come in: how their planes lie in memory, and where chroma samples sit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.types import Float64

Siting = Literal["left", "center"]
_SUBSAMPLING = {"420": (1, 1), "422": (1, 0), "444": (0, 0)}


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How ffmpeg lays out a planar format.

    ``family`` names the planes in storage order (yuv, gbr or y), ``shift`` the log2 of horizontal and vertical
    chroma subsampling, ``depth`` the bits per sample; ``full_range`` is True where the format's name implies it.
    """

    name: str
    family: Literal["yuv", "gbr", "y"]
    shift: tuple[int, int]
    depth: int
    full_range: bool = False

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Sample type of the planes: uint8 for 8 bits, else uint16."""
        return np.uint8 if self.depth == 8 else np.uint16

    @property
    def peak(self) -> int:
        """Largest code value."""
        return int((1 << self.depth) - 1)

    @property
    def planes(self) -> int:
        """How many planes there are."""
        return len(self.family)

    @property
    def is_rgb(self) -> bool:
        """Whether the planes are colours rather than luma and chroma."""
        return self.family == "gbr"

    @property
    def chroma(self) -> tuple[int, int]:
        """Horizontal and vertical subsampling factors of chroma."""
        return 1 << self.shift[0], 1 << self.shift[1]

    def plane_shift(self, plane: int) -> tuple[int, int]:
        """Log2 subsampling, horizontal and vertical, of one plane."""
        return self.shift if self.family == "yuv" and plane > 0 else (0, 0)

    def shapes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """``(h, w)`` of each plane of a ``width`` × ``height`` picture; chroma of an odd size is rounded up."""
        shifts = [self.plane_shift(plane) for plane in range(self.planes)]
        return tuple((-(-height >> sy), -(-width >> sx)) for sx, sy in shifts)

    def frame_bytes(self, width: int, height: int) -> int:
        """Bytes of one frame's planes without padding."""
        return sum(h * w for h, w in self.shapes(width, height)) * (1 if self.depth == 8 else 2)

    def to_luma(self, plane: int, siting: Siting = "center") -> Float64:
        """Affine ``[2 3]`` map from the sample positions of ``plane`` to luma (storage) pixel centres."""
        sx, sy = (1 << shift for shift in self.plane_shift(plane))
        return np.array([[sx, 0.0, (sx - 1) / 2 if siting == "center" else 0.0], [0.0, sy, (sy - 1) / 2]])


def _table() -> dict[str, PixelFormat]:
    formats = [PixelFormat("gray", "y", (0, 0), 8), PixelFormat("gray10le", "y", (0, 0), 10)]
    formats += [PixelFormat("gbrp", "gbr", (0, 0), 8, True), PixelFormat("gbrp10le", "gbr", (0, 0), 10, True)]
    for digits, shift in _SUBSAMPLING.items():
        formats.append(PixelFormat(f"yuv{digits}p", "yuv", shift, 8))
        formats.append(PixelFormat(f"yuvj{digits}p", "yuv", shift, 8, True))
        formats += [PixelFormat(f"yuv{digits}p{depth}le", "yuv", shift, depth) for depth in (10, 12)]
    return {item.name: item for item in formats}


PIXEL_FORMATS = _table()
"""By ffmpeg's name, every format that decoded frames are delivered in."""


def pixel_format(name: str) -> PixelFormat:
    """The format ffmpeg calls ``name``. Raises InputError for one that frames never come in."""
    try:
        return PIXEL_FORMATS[name]
    except KeyError:
        raise InputError(
            f"The pixel format {name!r} cannot be edited in place; known are {', '.join(sorted(PIXEL_FORMATS))}.",
            hint="Convert the video first, for example with ffmpeg -pix_fmt yuv420p.",
        ) from None
