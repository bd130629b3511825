"""The arithmetic of composition: a patch in crop space, sampled where a plane's samples are. Here with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from lipsync_cli.composite.colorspace import RgbToPlanes, to_codes
from lipsync_cli.composite.mask import blend_mask
from lipsync_cli.composite.match import color_field, with_detail
from lipsync_cli.composite.warp import Window, sample_layer
from lipsync_cli.pixel_formats import PixelFormat
from lipsync_cli.region import Region
from lipsync_cli.types import Float32, Float64, Patch, Plane

NOT_FINITE = "a patch must hold finite pixels"


@dataclass(frozen=True, slots=True)
class PainterOptions:
    """What a compositor was told; see there."""

    region: Region
    color_match: bool
    keep_detail: bool
    feather: float


@dataclass(frozen=True, slots=True)
class Target:
    """The part of plane number ``plane`` that a patch can reach: ``codes`` ``[h w]`` are what ``window`` holds.

    ``to_crop`` ``[2 3]`` maps the plane's sample positions to pixels of the region's window of the crop.
    """

    plane: int
    codes: Plane
    window: Window
    to_crop: Float64


class Painter(Protocol):
    """Whoever does the arithmetic. All of them do the same; results may differ by a code value of rounding."""

    def paint(
        self,
        patch: Patch,
        targets: Sequence[Target],
        fmt: PixelFormat,
        convert: RgbToPlanes,
        options: PainterOptions,
    ) -> list[Plane]:
        """The codes that ``patch`` makes of each target's; those given are not changed. May be called by several
        threads at a time. Raises ValueError for pixels that are not finite."""
        ...


@dataclass(frozen=True, slots=True)
class _Overlay:
    """A patch in crop space: the picture becomes ``picture · (1 − cover) + paint``, plane by plane.

    ``paint``, ``[h w]`` for each plane, is in code values, ``cover`` ``[h w]`` in [0, 1]. One linear form means one
    resampling kernel for colour and weight, so they cannot disagree.
    """

    paint: tuple[Float32, ...]
    cover: Float32


class CpuPainter:
    """Paints with NumPy and OpenCV; the reference for others."""

    def paint(
        self,
        patch: Patch,
        targets: Sequence[Target],
        fmt: PixelFormat,
        convert: RgbToPlanes,
        options: PainterOptions,
    ) -> list[Plane]:
        """See Painter."""
        overlay = _overlay(patch, convert, options)
        return [_painted(target, overlay, fmt) for target in targets]


def _overlay(patch: Patch, convert: RgbToPlanes, options: PainterOptions) -> _Overlay:
    size, drawn = patch.source.alignment.size, patch.drawing.on_host()
    if not np.isfinite(drawn).all():
        raise ValueError(NOT_FINITE)
    rows, columns = options.region.window(size)
    mask = blend_mask(
        patch.source.landmarks, size, feather=options.feather, region=options.region, drawn_jaw=patch.drawing.jaw
    )[rows, columns]
    source = patch.source.rgb[rows, columns] * np.float32(1 / 255)
    generated = np.clip(drawn[rows, columns], 0, 1)
    if options.color_match:
        generated = np.clip(generated + color_field(generated, source, mask), 0, 1)
    cover = np.ones_like(mask)
    if options.keep_detail:
        generated, cover = with_detail(generated, source, size)
    mask = mask * np.float32(min(patch.weight, 1.0))
    rgb, cover = mask[..., None] * generated, mask * cover
    layers = cv2.split(cv2.transform(cv2.merge([*cv2.split(rgb), cover]), convert.weighted))
    return _Overlay(tuple(np.asarray(layer, np.float32) for layer in layers), cover)


def _painted(target: Target, overlay: _Overlay, fmt: PixelFormat) -> Plane:
    old = target.codes.astype(np.float32)
    change = sample_layer(overlay.paint[target.plane], target.to_crop, target.window)
    change -= sample_layer(overlay.cover, target.to_crop, target.window) * old
    # Where the mask is 0 so is the change, and rounding returns the very code value that was there.
    return to_codes(old + change, fmt)
