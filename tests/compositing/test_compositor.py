"""Order, checks and what is shared: what the compositor does around its backend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipsync_cli.compositing.compositor import Compositor
from lipsync_cli.core.errors import InputError
from lipsync_cli.core.types import ColorInfo, GeneratedCrop, Patch
from tests.helpers.composite_scenes import alignment, crop_of, frame_of, smooth_rgb, unchanged, video, wild


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_compositor_returns_the_same_frame_where_nothing_is_to_be_shown(weight: float) -> None:
    info = video()
    rgb = smooth_rgb(info.width, info.height)
    frame = frame_of(info, rgb)
    compositor, patch = Compositor(info), wild(unchanged(crop_of(rgb, alignment(info)), weight))
    assert compositor.blend(frame, []) is frame
    assert compositor.blend(frame, [patch]) is frame


def test_compositor_blends_two_faces_one_after_the_other() -> None:
    info = video()
    rgb = smooth_rgb(info.width, info.height)
    frame = frame_of(info, rgb)
    places = [alignment(info, face=90, at=at) for at in ((80, 120), (240, 120))]
    patches = [wild(unchanged(crop_of(rgb, placed))) for placed in places]
    both = Compositor(info).blend(frame, patches)
    one_by_one = Compositor(info).blend(Compositor(info).blend(frame, patches[:1]), patches[1:])
    for a, b in zip(both.planes, one_by_one.planes, strict=True):
        np.testing.assert_array_equal(a, b)


def test_compositor_refuses_bad_patches_and_formats() -> None:
    info = video()
    rgb = smooth_rgb(info.width, info.height)
    frame, patch = frame_of(info, rgb), unchanged(crop_of(rgb, alignment(info)))
    with pytest.raises(ValueError, match="finite"):
        Compositor(info).blend(
            frame, [replace(patch, drawing=GeneratedCrop(np.full_like(patch.drawing.rgb, np.nan)))]
        )
    with pytest.raises(ValueError, match="96×96×3"):
        Compositor(info).blend(frame, [replace(patch, drawing=GeneratedCrop(patch.drawing.rgb[:-1]))])
    with pytest.raises(InputError, match="rgb565"):
        Compositor(replace(info, pix_fmt="rgb565le"))


def test_compositor_shares_planes_that_nobody_touched_and_keeps_its_input() -> None:
    info = video("yuv420p")
    rgb = np.full((info.height, info.width, 3), 0.5, np.float32)
    frame, crop = frame_of(info, rgb), crop_of(rgb, alignment(info))
    before = [plane.copy() for plane in frame.planes]
    lighter = crop.rgb / np.float32(255)
    lighter[55:65, 40:56] += 0.2
    compositor = Compositor(info, color_match=False)
    out = compositor.blend(frame, [Patch(GeneratedCrop(lighter), crop)])
    assert out.planes[0] is not frame.planes[0]
    assert out.planes[1] is frame.planes[1] and out.planes[2] is frame.planes[2]
    for old, plane in zip(before, frame.planes, strict=True):
        np.testing.assert_array_equal(plane, old)


def test_compositor_shares_all_planes_of_a_patch_beside_the_picture() -> None:
    info = video()
    rgb = smooth_rgb(info.width, info.height)
    frame, patch = frame_of(info, rgb), wild(unchanged(crop_of(rgb, alignment(info))))
    outside = replace(patch, source=replace(patch.source, alignment=alignment(info, at=(5000.0, 0.0))))
    assert all(a is b for a, b in zip(Compositor(info).blend(frame, [outside]).planes, frame.planes, strict=True))


def test_compositor_refuses_an_alignment_that_is_not_finite() -> None:
    info = video()
    rgb = smooth_rgb(info.width, info.height)
    patch = unchanged(crop_of(rgb, alignment(info)))
    broken = replace(patch.source.alignment, matrix=np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="finite alignment"):
        Compositor(info).blend(frame_of(info, rgb), [replace(patch, source=replace(patch.source, alignment=broken))])


def test_compositor_refuses_a_colour_matrix_it_does_not_know() -> None:
    with pytest.raises(InputError, match="ycgco"):
        Compositor(video(color=ColorInfo("ycgco")))
