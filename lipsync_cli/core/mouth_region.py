"""The part of an aligned crop that a generator writes; nothing outside it ever reaches the picture.

Generators, training losses and the compositor share this one definition. Unit coordinates span pixel edges: the
centre of pixel i of a crop of ``size`` pixels is at (i + ½) / size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Region:
    """A superellipse ``|x/a|ᵖ + |y/b|ᵖ < 1`` around ``centre``, everything in unit crop coordinates."""

    centre: tuple[float, float]
    half_size: tuple[float, float]
    exponent: float

    def radius(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Float64:
        """Superelliptic distance from the centre: below 1 inside, 1 on the border. ``x`` and ``y`` broadcast."""
        u = np.abs(np.asarray(x, np.float64) - self.centre[0]) / self.half_size[0]
        v = np.abs(np.asarray(y, np.float64) - self.centre[1]) / self.half_size[1]
        return np.asarray((u**self.exponent + v**self.exponent) ** (1 / self.exponent))

    def window(self, size: int) -> tuple[slice, slice]:
        """Rows and columns of a ``size`` × ``size`` crop that hold the whole region."""
        low = [int(np.floor((c - h) * size)) for c, h in zip(self.centre, self.half_size, strict=True)]
        high = [int(np.ceil((c + h) * size)) for c, h in zip(self.centre, self.half_size, strict=True)]
        return slice(max(low[1], 0), min(high[1], size)), slice(max(low[0], 0), min(high[0], size))


LOWER_FACE_REGION = Region(centre=(0.5, 0.665), half_size=(0.40, 0.305), exponent=2.5)
LATENTSYNC_REGION = Region(centre=(0.5, 0.745), half_size=(0.42, 0.24), exponent=2.5)
"""About the same part of a face in the wider window of LatentSync's crop template."""


def generation_region(size: int, region: Region = LOWER_FACE_REGION) -> Mask:
    """Read-only ``[size size]`` mask, True where a generator may write: pixel centres strictly inside ``region``."""
    return _inside(size, region)


def region_depth(size: int, region: Region = LOWER_FACE_REGION) -> Float32:
    """Read-only ``[size size]`` distance to the border in crop widths: positive inside, negative outside.

    First order in the distance, so exact at the border, which is where feathering needs it.
    """
    return _depth(size, region)


def unit_grid(size: int) -> Float64:
    """Unit coordinates ``[size]`` of pixel centres."""
    return (np.arange(size) + 0.5) / size


@lru_cache(maxsize=8)
def _inside(size: int, region: Region) -> Mask:
    grid = unit_grid(size)
    mask: Mask = region.radius(grid[None, :], grid[:, None]) < 1.0
    mask.flags.writeable = False
    return mask


@lru_cache(maxsize=8)
def _depth(size: int, region: Region) -> Float32:
    grid = unit_grid(size)
    radius = region.radius(grid[None, :], grid[:, None])
    slope = np.hypot(*np.gradient(radius, 1.0 / size))
    # At the very centre the slope vanishes; the depth there only has to be large.
    depth: Float32 = ((1.0 - radius) / np.maximum(slope, 1.0)).astype(np.float32)
    depth.flags.writeable = False
    return depth
