"""From what the renderer predicts to pixels, in torch: warping, blending and inpainting at the size of the crop.

The parts that no network is needed for. Gradients flow through all of them. ``engines.mini.warping_opencv`` does the
same with OpenCV where a processor renders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.core.mouth_region import LOWER_FACE_REGION, generation_region


class Fields(NamedTuple):
    """Of k references, on the window at a quarter of the networks' size: ``shift`` ``[b k 2 h w]`` is where to look
    relative to the pixel (x, y in crop fractions), ``logits`` ``[b k h w]`` whose softmax are the shares."""

    shift: Tensor
    logits: Tensor

    def frame(self, index: int) -> Fields:
        """Those of one frame, still as a batch."""
        return Fields._make(x[index : index + 1] for x in self)


class Inpainting(NamedTuple):
    """On the window at the networks' size: a ``colour`` ``[b 3 h w]`` and how much of the mixture stays, ``gate``
    ``[b 1 h w]`` in [0, 1]."""

    colour: Tensor
    gate: Tensor

    def frame(self, index: int) -> Inpainting:
        """That of one frame, still as a batch."""
        return Inpainting._make(x[index : index + 1] for x in self)


# Detail comes from few references: its shares are the others' to this power. Pictures that are not quite alike lose
# in a mixture what is fine in each; as in multi-band blending (Burt and Adelson 1983) only coarse bands are mixed.
DETAIL_POWER = 4


def warp(fields: Fields, pixels: Tensor, window: RegionWindow) -> Tensor:
    """References ``[b k 3 s s]`` displaced and mixed with shares that sum to one: the window ``[b 3 H W]``.

    What is finer than the fields comes mostly from the reference with the greatest share.
    """
    b, k, size = *pixels.shape[:2], pixels.shape[-1]
    # grid_sample counts the crop from −1 to 1, hence twice the displacement.
    maps = torch.cat([2 * fields.shift, fields.logits[:, :, None]], 2).flatten(0, 1).contiguous()
    # In half precision a place near the edge of the crop would be known to half a pixel.
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    maps = F.interpolate(maps, window.shape, mode="bilinear", align_corners=False)
    grid = identity_grid(size, maps)[:, window.rows, window.columns] + maps[:, :2].permute(0, 2, 3, 1)
    # Bicubic: half-way between pixels a bilinear mean is a blur, and nearly every pixel is taken from half-way.
    taken = F.grid_sample(
        pixels.flatten(0, 1).to(maps), grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    taken, logits = taken.reshape(b, k, *taken.shape[1:]), maps[:, 2:].reshape(b, k, 1, *window.shape)
    mixed = (taken * torch.softmax(logits, 1)).sum(1)
    more = (taken * torch.softmax(DETAIL_POWER * logits, 1)).sum(1) - mixed
    coarse = shrink(more, more.shape[-1] // fields.logits.shape[-1])
    drawn = mixed + more - F.interpolate(coarse, window.shape, mode="bilinear", align_corners=False)
    return drawn.to(pixels.dtype)


def blend(warped: Tensor, paint: Inpainting) -> Tensor:
    """The mixture ``[b 3 H W]`` corrected where its gate is open and painted over where it is shut."""
    maps = torch.cat(paint, 1)
    if maps.shape[-2:] != warped.shape[-2:]:
        maps = F.interpolate(maps, warped.shape[-2:], mode="bilinear", align_corners=False)
    colour, gate = maps[:, :3], maps[:, 3:]
    return gate * (warped + 0.25 * colour) + (1 - gate) * (0.5 + 0.5 * colour)


def shrink(images: Tensor, zoom: int) -> Tensor:
    """Means over cells of ``zoom`` × ``zoom`` pixels."""
    return images if zoom == 1 else F.avg_pool2d(images, zoom)


# Pixels that the two 3 × 3 convolutions of a residual block read beyond what is wanted of it.
BLOCK_MARGIN = 2


@dataclass(frozen=True, slots=True)
class RegionWindow:
    """The rows and columns around the generated region, whole coarse pixels of four; only they cost full size.

    ``trunk_rows`` and ``trunk_columns`` are those of the coarse map that they depend on.
    """

    rows: slice
    columns: slice
    trunk_rows: slice
    trunk_columns: slice

    @classmethod
    def of(cls, size: int) -> RegionWindow:
        """The window of a crop of ``size`` pixels."""
        return _region_window(size)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def enlarged(self, zoom: int) -> RegionWindow:
        """The same part of crops ``zoom`` times as large. What is coarse here no longer has a meaning there."""
        return replace(self, rows=_times(self.rows, zoom), columns=_times(self.columns, zoom))

    @property
    def coarse_rows(self) -> slice:
        """Rows of maps at a quarter of the crop's size."""
        return slice(self.rows.start // 4, self.rows.stop // 4)

    @property
    def coarse_columns(self) -> slice:
        """Columns of such maps."""
        return slice(self.columns.start // 4, self.columns.stop // 4)

    def fine(self, maps: Tensor) -> Tensor:
        """The window of maps ``[... s s]``."""
        return maps[..., self.rows, self.columns]

    def coarse(self, maps: Tensor) -> Tensor:
        """The window of maps at a quarter of the crop's size."""
        return maps[..., self.coarse_rows, self.coarse_columns]

    def without_margin(self, maps: Tensor) -> Tensor:
        """The window of maps that show the trunk's rows and columns only."""
        y, x = self.coarse_rows.start - self.trunk_rows.start, self.coarse_columns.start - self.trunk_columns.start
        rows, columns = self.coarse_rows, self.coarse_columns
        return maps[..., y : y + rows.stop - rows.start, x : x + columns.stop - columns.start]

    def paste(self, inner: Tensor, frames: Tensor) -> Tensor:
        """``frames`` with the window replaced by ``inner``."""
        out = frames.to(inner.dtype, copy=True)
        out[..., self.rows, self.columns] = inner
        return out


@lru_cache(maxsize=8)
def _region_window(size: int) -> RegionWindow:
    spans = LOWER_FACE_REGION.window(size)
    rows, columns = (slice(span.start // 4 * 4, min(size, -(-span.stop // 4) * 4)) for span in spans)
    around = (
        slice(max(0, span.start // 4 - BLOCK_MARGIN), min(size // 4, span.stop // 4 + BLOCK_MARGIN))
        for span in (rows, columns)
    )
    return RegionWindow(rows, columns, *around)


def region_keep(size: int, like: Tensor) -> Tensor:
    """1 where the frame's own pixels stay, 0 where they are generated: ``[1 1 s s]`` with ``like``'s dtype."""
    region = torch.from_numpy(generation_region(size).copy()).to(like)
    return (1 - region)[None, None]


def identity_grid(size: int, like: Tensor) -> Tensor:
    """Sampling grid ``[1 s s 2]`` of ``grid_sample`` that returns its input."""
    axis = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1)[None]


def _times(span: slice, factor: int) -> slice:
    return slice(span.start * factor, span.stop * factor)
