"""The arithmetic of composition: a patch in crop space, sampled where a plane's samples are. Here with OpenCV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import cv2
import numpy as np

from lipsync_cli.compositing.color_match import color_field, with_detail
from lipsync_cli.compositing.colorspace import RgbToPlanes, to_codes
from lipsync_cli.compositing.mask import face_outline, mask_within
from lipsync_cli.compositing.warp import PatchWindow, sample_layer
from lipsync_cli.core.geometry import of_each_channel
from lipsync_cli.core.mouth_region import Region
from lipsync_cli.core.pixel_formats import PixelFormat
from lipsync_cli.core.types import Float32, Float64, Patch, Plane

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
    window: PatchWindow
    to_crop: Float64


class CompositingBackend(Protocol):
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


class NumpyBackend:
    """Paints with NumPy and OpenCV; the reference for others."""

    def paint(
        self,
        patch: Patch,
        targets: Sequence[Target],
        fmt: PixelFormat,
        convert: RgbToPlanes,
        options: PainterOptions,
    ) -> list[Plane]:
        """See CompositingBackend."""
        overlay = _overlay(patch, convert, options)
        return [codes for group in of_one_grid(targets) for codes in _painted(group, overlay, fmt)]


def of_one_grid(targets: Sequence[Target]) -> Iterator[list[Target]]:
    """Consecutive targets whose samples sit at the same places, in order."""
    for _, group in groupby(targets, key=lambda target: (target.window, target.to_crop.tobytes())):
        yield list(group)


def _overlay(patch: Patch, convert: RgbToPlanes, options: PainterOptions) -> Float32:
    """A patch in crop space, ``[h w 4]``: paint in code values for up to three planes and, last, cover in [0, 1].

    The picture becomes ``picture · (1 − cover) + paint``. One linear form means one resampling kernel for colour and
    weight, so they cannot disagree. Four layers whatever the format: OpenCV warps two more slowly, and less exactly.
    """
    size, drawn = patch.source.alignment.size, patch.drawing.on_host()
    if not np.isfinite(drawn).all():
        raise ValueError(NOT_FINITE)
    window = options.region.window(size)
    outline = face_outline(
        patch.source.landmarks, size, feather=options.feather, region=options.region, drawn_jaw=patch.drawing.jaw
    )
    mask = mask_within(outline, size, options.feather, options.region)
    source = patch.source.rgb[window] * np.float32(1 / 255)
    generated = np.clip(drawn[window], 0, 1)
    if options.color_match:
        generated += color_field(generated, source, mask)
        np.clip(generated, 0, 1, out=generated)
    cover = np.ones_like(mask)
    if options.keep_detail:
        generated, cover = with_detail(generated, source, size)
    mask *= np.float32(min(patch.weight, 1.0))
    generated *= of_each_channel(mask)
    cover *= mask
    layers = cv2.insertChannel(cover, cv2.cvtColor(generated, cv2.COLOR_RGB2RGBA), 3)
    return np.asarray(cv2.transform(layers, convert.layers), np.float32)


def _painted(group: Sequence[Target], overlay: Float32, fmt: PixelFormat) -> list[Plane]:
    """New codes for targets on one grid, whose layers are sampled together."""
    layers = cv2.split(sample_layer(overlay, group[0].to_crop, group[0].window))
    cover = np.asarray(layers[-1], np.float32)
    painted = []
    for target in group:
        old = target.codes.astype(np.float32)
        change = np.asarray(layers[target.plane], np.float32) - cover * old
        # Where the mask is 0 so is the change, and rounding returns the very code value that was there.
        painted.append(to_codes(np.add(old, change, out=old), fmt))
    return painted
