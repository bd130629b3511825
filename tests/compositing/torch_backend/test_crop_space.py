"""A patch in crop space with torch, step by step what NumPy and OpenCV make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lipsync_cli.compositing.colorspace import rgb_to_planes
from lipsync_cli.compositing.mask import blend_mask
from lipsync_cli.compositing.numpy_backend import _overlay
from lipsync_cli.compositing.protocol import BlendOptions
from lipsync_cli.compositing.torch_backend.crop_space import CropSpace
from lipsync_cli.core.mouth_region import LATENTSYNC_REGION, LOWER_FACE_REGION, Region
from lipsync_cli.core.pixel_formats import pixel_format
from lipsync_cli.core.types import ColorInfo
from tests.compositing.torch_backend.test_backend import drawn
from tests.helpers.composite_scenes import alignment, landmarks, smooth_rgb, video

SPACE = CropSpace(torch.device("cpu"))
PLAIN = BlendOptions(LOWER_FACE_REGION, color_match=False, keep_detail=False, feather=0.075)
INFO = video()
RGB = smooth_rgb(INFO.width, INFO.height)
CONVERT = rgb_to_planes(pixel_format("yuv420p"), ColorInfo("bt709"))


@pytest.mark.parametrize("region", [LOWER_FACE_REGION, LATENTSYNC_REGION])
@pytest.mark.parametrize("size", [64, 96, 193])
@pytest.mark.parametrize("jaw", [True, False])
def test_overlay_alpha_of_a_plain_patch_is_the_blend_mask(region: Region, size: int, jaw: bool) -> None:
    patch = drawn(RGB, alignment(INFO, size), jaw=jaw)
    overlay, _ = SPACE.overlay(patch, CONVERT, replace(PLAIN, region=region))
    mask = blend_mask(landmarks(size), size, feather=0.075, region=region, generated_jaw=patch.drawing.jaw)
    np.testing.assert_allclose(overlay[-1].numpy(), mask[region.window(size)], atol=1e-5)


@pytest.mark.parametrize("color_match", [True, False])
@pytest.mark.parametrize("keep_detail", [True, False])
@pytest.mark.parametrize("weight", [1.0, 0.3, 2.0])
def test_overlay_is_that_of_numpy(color_match: bool, keep_detail: bool, weight: float) -> None:
    patch = drawn(RGB, alignment(INFO), jaw=True, weight=weight)
    options = replace(PLAIN, color_match=color_match, keep_detail=keep_detail)
    overlay, finite = SPACE.overlay(patch, CONVERT, options)
    expected = np.moveaxis(_overlay(patch, CONVERT, options), -1, 0)
    assert overlay.shape == expected.shape and bool(finite)
    np.testing.assert_allclose(overlay[:3].numpy(), expected[:3], atol=0.15)
    np.testing.assert_allclose(overlay[3].numpy(), expected[3], atol=1e-3)


def test_overlay_of_one_plane_has_two_layers() -> None:
    convert = rgb_to_planes(pixel_format("gray"), ColorInfo("bt709"))
    overlay, _ = SPACE.overlay(drawn(RGB, alignment(INFO)), convert, PLAIN)
    assert len(overlay) == 2


def test_overlay_tells_that_pixels_are_not_finite_also_outside_the_window() -> None:
    patch = drawn(RGB, alignment(INFO))
    pixels = np.array(patch.drawing.rgb)
    pixels[0, 0, 0] = np.nan
    for rgb in (pixels, torch.from_numpy(pixels)):
        _, finite = SPACE.overlay(replace(patch, drawing=replace(patch.drawing, rgb=rgb)), CONVERT, PLAIN)
        assert not bool(finite)
