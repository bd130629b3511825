"""A patch in crop space, with torch: mask, colour match, detail and the way to code values.

Images are ``[c h w]`` over the window of the region. See ``compositing.mask`` and ``compositing.color_match``, which
this follows step by step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipsync_cli.compositing.color_match import (
    DETAIL_TOLERANCE,
    DIFFUSION_FLOOR,
    MAX_SHIFT,
    MAX_VARIATION,
    OUTLIER,
    RING_MIN,
    axis_operators,
)
from lipsync_cli.compositing.colorspace import RgbToPlanes
from lipsync_cli.compositing.mask import Outline, face_outline, inner_depth
from lipsync_cli.compositing.protocol import BlendOptions
from lipsync_cli.core.mouth_region import Region
from lipsync_cli.core.types import Patch


@dataclass(frozen=True, slots=True)
class _Axes:
    """Matrices of one linear operation along rows and columns, ``[… m n]`` each."""

    rows: Tensor
    columns: Tensor

    def __call__(self, image: Tensor) -> Tensor:
        return self.rows @ image @ self.columns.mT


@dataclass(frozen=True, slots=True)
class _Operators:
    """What depends on the crop's size only: linear operations, and how deep ``[h w]`` pixels lie in the region."""

    shrink: _Axes
    grow: _Axes
    diffuse: _Axes
    smooth: _Axes
    depth: Tensor


class CropSpace:
    """Crop-space work on one device; keeps its operators there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._operators: dict[tuple[int, Region], _Operators] = {}

    def overlay(self, patch: Patch, convert: RgbToPlanes, options: BlendOptions) -> tuple[Tensor, Tensor]:
        """Layers ``[planes + 1 h w]``, premultiplied code values for each plane, then alpha; and whether the patch is
        finite. The picture becomes ``picture · (1 − alpha) + overlay``."""
        size = patch.source.alignment.size
        window, operators = options.region.window(size), self._prepared(size, options.region)
        rgb = patch.drawing.rgb
        if isinstance(rgb, np.ndarray):
            finite = torch.tensor(bool(np.isfinite(rgb).all()), device=self._device)
            rgb = self._upload(rgb[window])
        else:
            finite = rgb.isfinite().all()
            rgb = rgb[window].to(self._device)
        mask = self._mask(patch, operators.depth, options)
        source = self._upload(patch.source.rgb[window]).permute(2, 0, 1) / 255
        generated = rgb.permute(2, 0, 1).clamp(0, 1)
        if options.color_match:
            generated = (generated + _color_field(generated, source, mask, operators)).clamp(0, 1)
        alpha = torch.ones_like(mask)
        if options.keep_detail:
            generated, alpha = _with_detail(generated, source, operators)
        mask = mask * min(patch.weight, 1.0)
        alpha = mask * alpha
        weighted = torch.cat([mask * generated, alpha[None]])
        codes = torch.tensordot(self._upload(convert.weighted), weighted, 1)
        return torch.cat([codes, alpha[None]]), finite

    def _prepared(self, size: int, region: Region) -> _Operators:
        if (size, region) not in self._operators:
            rows, columns = (axis_operators(span.stop - span.start, size) for span in region.window(size))
            names = ("shrink", "grow", "diffuse", "smooth")
            axes = {n: _Axes(self._upload(getattr(rows, n)), self._upload(getattr(columns, n))) for n in names}
            self._operators[size, region] = _Operators(**axes, depth=self._upload(inner_depth(size, region)))
        return self._operators[size, region]

    def _mask(self, patch: Patch, depth: Tensor, options: BlendOptions) -> Tensor:
        """``blend_mask`` over the region's window ``[h w]``: lines from landmarks on the CPU, areas here."""
        outline = face_outline(
            patch.source.landmarks,
            patch.source.alignment.size,
            feather=options.feather,
            region=options.region,
            generated_jaw=patch.drawing.jaw,
        )
        inside = torch.minimum(depth, self._face_depth(outline)) / options.feather
        t = inside.clamp(0, 1)
        return t * t * (3 - 2 * t)

    def _face_depth(self, outline: Outline) -> Tensor:
        y, left, right = self._upload(np.stack([outline.y, outline.left, outline.right]))[:, :, None]
        chin = outline.x if outline.chin is None else outline.chin
        x, chin, slant = self._upload(np.stack([outline.x, chin, outline.slant]))[:, None, :]
        face = torch.minimum(x - left, right - x)
        return face if outline.chin is None else torch.minimum(face, (chin - y) / slant)

    def _upload(self, array: npt.NDArray[Any]) -> Tensor:
        """``array`` as float32 on the device; it travels in its own type, pixels as bytes."""
        return torch.from_numpy(np.array(array)).to(self._device).float()


def _color_field(generated: Tensor, source: Tensor, mask: Tensor, operators: _Operators) -> Tensor:
    """``color_match.color_field`` for images ``[3 h w]`` and a mask ``[h w]``, without waiting for the device."""
    cells = operators.shrink(torch.cat([source - generated, 4 * mask[None] * (1 - mask)]))
    difference, ring = cells[:3], cells[3]
    in_ring = ring > RING_MIN
    read = torch.where(in_ring, difference, torch.nan).flatten(1)
    median = read.nanquantile(0.5, dim=1).nan_to_num()[:, None, None]
    residual = difference - median
    ring = ring / (1 + residual.square().mean(0) / OUTLIER**2) ** 2
    spread = operators.diffuse(torch.cat([residual * ring, ring[None]])[:, None]).sum(1)
    field = spread[:3] / (spread[3] + DIFFUSION_FLOOR)
    field = field.clamp(-MAX_VARIATION, MAX_VARIATION) + median.clamp(-MAX_SHIFT, MAX_SHIFT)
    return operators.grow(field) * in_ring.any()


def _with_detail(generated: Tensor, source: Tensor, operators: _Operators) -> tuple[Tensor, Tensor]:
    """``color_match.with_detail`` for images ``[3 h w]``."""
    difference = generated - source
    smooth = operators.smooth(torch.cat([difference, difference.mean(0, keepdim=True).square()]))
    slow, error = smooth[:3], smooth[3] / DETAIL_TOLERANCE**2
    alpha = 1 - 1 / (1 + error.square())
    return slow + alpha * (generated - slow), alpha
