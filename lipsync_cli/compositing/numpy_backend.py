"""Composition with NumPy and OpenCV: a patch in crop space, sampled where a plane's samples are."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lipsync_cli.compositing.color_match import color_field, with_detail
from lipsync_cli.compositing.colorspace import RgbToPlanes, to_codes
from lipsync_cli.compositing.mask import face_outline, mask_within
from lipsync_cli.compositing.protocol import NOT_FINITE, BlendOptions, PlaneTarget, by_sample_grid
from lipsync_cli.compositing.warp import sample_layer
from lipsync_cli.core.geometry import of_each_channel
from lipsync_cli.core.pixel_formats import PixelFormat
from lipsync_cli.core.types import Float32, Patch, Plane


class NumpyBackend:
    """A CompositingBackend on the CPU; the reference for others. Stateless."""

    def blend(
        self,
        patch: Patch,
        targets: Sequence[PlaneTarget],
        fmt: PixelFormat,
        convert: RgbToPlanes,
        options: BlendOptions,
    ) -> list[Plane]:
        """See CompositingBackend."""
        overlay = _overlay(patch, convert, options)
        return [codes for group in by_sample_grid(targets) for codes in _blended(group, overlay, fmt)]


def _overlay(patch: Patch, convert: RgbToPlanes, options: BlendOptions) -> Float32:
    """A patch in crop space, ``[h w 4]``: premultiplied codes for up to three planes and, last, alpha in [0, 1].

    The picture becomes ``picture · (1 − alpha) + overlay`` (the "over" of Porter & Duff 1984). Premultiplied layers
    share one resampling kernel, so colour and weight cannot disagree. Four layers whatever the format: OpenCV warps
    two more slowly, and less exactly.
    """
    size, rgb = patch.source.alignment.size, patch.drawing.on_host()
    if not np.isfinite(rgb).all():
        raise ValueError(NOT_FINITE)
    window = options.region.window(size)
    outline = face_outline(
        patch.source.landmarks, size, feather=options.feather, region=options.region, generated_jaw=patch.drawing.jaw
    )
    mask = mask_within(outline, size, options.feather, options.region)
    source = patch.source.rgb[window] * np.float32(1 / 255)
    generated = np.clip(rgb[window], 0, 1)
    if options.color_match:
        generated += color_field(generated, source, mask)
        np.clip(generated, 0, 1, out=generated)
    alpha = np.ones_like(mask)
    if options.keep_detail:
        generated, alpha = with_detail(generated, source, size)
    mask *= np.float32(min(patch.weight, 1.0))
    generated *= of_each_channel(mask)
    alpha *= mask
    layers = cv2.insertChannel(alpha, cv2.cvtColor(generated, cv2.COLOR_RGB2RGBA), 3)
    return np.asarray(cv2.transform(layers, convert.layers), np.float32)


def _blended(group: Sequence[PlaneTarget], overlay: Float32, fmt: PixelFormat) -> list[Plane]:
    """New codes for targets on one grid, whose layers are sampled together."""
    layers = cv2.split(sample_layer(overlay, group[0].to_crop, group[0].window))
    alpha = np.asarray(layers[-1], np.float32)
    blended = []
    for target in group:
        old = target.codes.astype(np.float32)
        change = np.asarray(layers[target.plane], np.float32) - alpha * old
        # Where the mask is 0 so is the change, and rounding returns the very code value that was there.
        blended.append(to_codes(np.add(old, change, out=old), fmt))
    return blended
