"""Composition with torch gives what composition with OpenCV gives, to a code value, and leaves the rest alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.compositing.color_match import DETAIL_SIGMA, axis_operators, grow, shrink, smooth
from lipsync_cli.compositing.compositor import Compositor
from lipsync_cli.compositing.torch_backend.backend import TorchBackend
from lipsync_cli.compositing.torch_backend.sampling import sample_layers
from lipsync_cli.compositing.warp import PatchWindow, sample_layer
from lipsync_cli.core.landmarks68 import JAW
from lipsync_cli.core.mouth_region import LATENTSYNC_REGION
from lipsync_cli.core.types import Frame, GeneratedCrop, Patch, VideoInfo
from tests.helpers.composite_scenes import (
    FORMATS,
    ORIENTED,
    alignment,
    assert_untouched_outside,
    crop_of,
    frame_of,
    landmarks,
    smooth_rgb,
    video,
    wild,
)

BACKEND = TorchBackend(torch.device("cpu"))
PLACES = [
    {"face": 30.0, "angle": 0.3},
    {"face": 70.0, "angle": -1.2},
    {"face": 150.0, "angle": 0.1},
    {"face": 260.0, "angle": 2.9},
    {"face": 180.0, "angle": 0.2, "at": (300.0, 225.0)},
]


def drawn(rgb: np.ndarray, placed, *, jaw: bool = False, weight: float = 1.0, seed: int = 0) -> Patch:
    """The picture in other colours and with grain, the mouth replaced by noise: every branch has work to do."""
    crop = crop_of(rgb, placed)
    size, rng = placed.size, np.random.default_rng(seed)
    picture = crop.rgb / np.float32(255) + np.float32([0.06, -0.03, 0.02])
    picture += rng.normal(0, 0.02, picture.shape).astype(np.float32)
    mouth = slice(int(0.6 * size), int(0.75 * size)), slice(int(0.35 * size), int(0.65 * size))
    picture[mouth] = rng.random(picture[mouth].shape, np.float32)
    chin = landmarks(size)[list(JAW)] + np.array([0.0, 0.04 * size]) if jaw else None
    return Patch(GeneratedCrop(picture, chin), crop, weight)


def both(info: VideoInfo, frame: Frame, patches: list[Patch], **options) -> tuple[Frame, Frame]:
    return (
        Compositor(info, **options).blend(frame, patches),
        Compositor(info, backend=BACKEND, **options).blend(frame, patches),
    )


def assert_same_picture(expected: Frame, actual: Frame, before: Frame, *, share: float = 0.01) -> int:
    """At most one code value apart, and that in less than ``share`` of what changed; returns how much did."""
    apart = changed = 0
    for one, other, old in zip(expected.planes, actual.planes, before.planes, strict=True):
        assert other.dtype == one.dtype and other.shape == one.shape and other.flags.c_contiguous
        difference = np.abs(one.astype(int) - other)
        assert difference.max() <= 1
        apart += int((difference > 0).sum())
        changed += int(((one != old) | (other != old)).sum())
    assert apart <= max(2, share * changed)
    return changed


@pytest.mark.parametrize("pix_fmt", [*FORMATS, "yuv420p12le", "gbrp10le"])
@pytest.mark.parametrize("place", PLACES)
def test_every_format_and_place(pix_fmt, place):
    info = video(pix_fmt)
    rgb = smooth_rgb(info.width, info.height)
    frame, placed = frame_of(info, rgb, noise=3), alignment(info, **place)
    expected, actual = both(info, frame, [drawn(rgb, placed, jaw=True)])
    assert assert_same_picture(expected, actual, frame) > 50
    assert_untouched_outside(info, frame, actual, placed)
    assert actual.index == frame.index and actual.pts == frame.pts and actual.rgb is None


@pytest.mark.parametrize("color_match", [True, False])
@pytest.mark.parametrize("keep_detail", [True, False])
@pytest.mark.parametrize(("jaw", "weight", "size"), [(True, 1.0, 96), (False, 0.4, 64), (True, 0.7, 256)])
def test_every_option(color_match, keep_detail, jaw, weight, size):
    info = video("yuv422p10le")
    rgb = smooth_rgb(info.width, info.height)
    frame, patch = frame_of(info, rgb, noise=8), drawn(rgb, alignment(info, size), jaw=jaw, weight=weight)
    options = {"color_match": color_match, "keep_detail": keep_detail, "feather": 0.05, "region": LATENTSYNC_REGION}
    expected, actual = both(info, frame, [patch], **options)
    assert assert_same_picture(expected, actual, frame) > 2000


@pytest.mark.parametrize("changes", ORIENTED)
def test_rotated_and_anamorphic_pictures(changes):
    info = video("yuv420p", **changes)
    rgb = smooth_rgb(info.width, info.height)
    frame, placed = frame_of(info, rgb), alignment(info)
    expected, actual = both(info, frame, [drawn(rgb, placed)])
    assert assert_same_picture(expected, actual, frame) > 1500
    assert_untouched_outside(info, frame, actual, placed)


def test_patches_on_top_of_each_other():
    info = video("yuv420p", 321, 239)
    rgb = smooth_rgb(321, 239)
    frame = frame_of(info, rgb)
    places = [alignment(info, face=120, at=at) for at in ((120, 120), (170, 130), (900, 900))]
    patches = [drawn(rgb, placed, weight=0.8, seed=seed) for seed, placed in enumerate(places)]
    expected, actual = both(info, frame, patches)
    # Where patches overlap, a value that was rounded the other way is blended once more.
    assert assert_same_picture(expected, actual, frame) > 5000


@settings(max_examples=60)
@given(
    pix_fmt=st.sampled_from(["yuv420p", "yuv422p10le", "gbrp", "gray", "yuvj420p"]),
    size=st.sampled_from([20, 64, 96]),
    shape=st.tuples(st.integers(17, 90), st.integers(17, 90)),
    face=st.floats(8, 400),
    angle=st.floats(-3.2, 3.2),
    at=st.tuples(st.floats(-60, 150), st.floats(-60, 150)),
    rotation=st.sampled_from([0, 90, 180, 270]),
)
def test_any_alignment(pix_fmt, size, shape, face, angle, at, rotation):
    info = video(pix_fmt, *shape, rotation=rotation)
    rgb = smooth_rgb(*shape)
    frame, placed = frame_of(info, rgb, noise=2), alignment(info, size, face=face, angle=angle, at=at)
    expected, actual = both(info, frame, [wild(drawn(rgb, placed))])
    assert_same_picture(expected, actual, frame, share=0.02)
    assert_untouched_outside(info, frame, actual, placed)


def test_planes_that_nobody_touched_are_shared_and_the_input_is_kept():
    info = video("yuv420p")
    rgb = np.full((info.height, info.width, 3), 0.5, np.float32)
    frame, crop = frame_of(info, rgb), crop_of(rgb, alignment(info))
    kept = [plane.copy() for plane in frame.planes]
    lighter = crop.rgb / np.float32(255)
    lighter[55:65, 40:56] += 0.2
    compositor = Compositor(info, backend=BACKEND, color_match=False)
    out = compositor.blend(frame, [Patch(GeneratedCrop(lighter), crop)])
    assert out.planes[0] is not frame.planes[0]
    assert out.planes[1] is frame.planes[1] and out.planes[2] is frame.planes[2]
    for old, plane in zip(kept, frame.planes, strict=True):
        np.testing.assert_array_equal(plane, old)
    outside = Patch(GeneratedCrop(lighter), replace(crop, alignment=alignment(info, at=(5000.0, 0.0))))
    assert all(a is b for a, b in zip(compositor.blend(frame, [outside]).planes, frame.planes, strict=True))
    assert compositor.blend(frame, []) is frame
    assert compositor.blend(frame, [replace(outside, weight=0.0)]) is frame


def test_planes_that_cannot_be_written_to_are_no_obstacle(recwarn):
    info = video("yuv420p10le")
    rgb = smooth_rgb(info.width, info.height)
    frame, patch = frame_of(info, rgb), drawn(rgb, alignment(info))
    for array in (*frame.planes, patch.source.rgb, patch.drawing.rgb):
        array.flags.writeable = False
    expected, actual = both(info, frame, [patch])
    assert_same_picture(expected, actual, frame)
    assert not recwarn.list


def test_a_drawing_may_have_stayed_on_the_device():
    info = video()
    rgb = smooth_rgb(info.width, info.height)
    frame, patch = frame_of(info, rgb), drawn(rgb, alignment(info), jaw=True)
    assert isinstance(patch.drawing.rgb, np.ndarray)
    left = replace(patch, drawing=replace(patch.drawing, rgb=torch.from_numpy(patch.drawing.rgb)))
    expected, actual = both(info, frame, [patch]), both(info, frame, [left])
    for a, b in zip(expected, actual, strict=True):
        assert all(np.array_equal(*planes) for planes in zip(a.planes, b.planes, strict=True))


@pytest.mark.parametrize("of", [np.asarray, torch.from_numpy])
def test_bad_patches_are_refused(of):
    info = video()
    rgb = smooth_rgb(info.width, info.height)
    frame, patch = frame_of(info, rgb), drawn(rgb, alignment(info))
    compositor, pixels = Compositor(info, backend=BACKEND), np.array(patch.drawing.rgb)
    with pytest.raises(ValueError, match="96×96×3"):
        compositor.blend(frame, [replace(patch, drawing=GeneratedCrop(of(pixels[:-1])))])
    pixels[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="finite"):
        compositor.blend(frame, [replace(patch, drawing=GeneratedCrop(of(pixels)))])


@given(
    steps=st.tuples(st.floats(0.1, 6), st.floats(0.1, 6)),
    angle=st.floats(-3.2, 3.2),
    at=st.tuples(st.floats(-20, 60), st.floats(-20, 60)),
)
@settings(max_examples=60)
def test_sampling_is_opencvs(steps, angle, at):
    layer = np.random.default_rng(0).random((40, 55), np.float32)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    to_crop, window = np.column_stack([turn * steps, at]), PatchWindow(3, 5, 40, 33)
    expected = sample_layer(layer, to_crop, window)
    sampled = sample_layers(torch.from_numpy(layer)[None], to_crop, window)[0].numpy()
    np.testing.assert_allclose(sampled, expected, atol=1e-3)
    assert np.abs(sampled - expected).mean() < 2e-5


@pytest.mark.parametrize(("height", "width", "size"), [(118, 154, 192), (117, 155, 193), (40, 52, 64), (13, 17, 20)])
def test_matrices_do_what_opencv_does(height, width, size):
    image = np.random.default_rng(0).random((height, width), np.float32)
    rows, columns = axis_operators(height, size), axis_operators(width, size)
    cells = shrink(image, (len(columns.shrink), len(rows.shrink)))
    np.testing.assert_allclose(rows.shrink @ image @ columns.shrink.T, cells, atol=1e-5)
    np.testing.assert_allclose(rows.grow @ cells @ columns.grow.T, grow(cells, (width, height)), atol=1e-5)
    blurred = smooth(image, DETAIL_SIGMA * size)
    np.testing.assert_allclose(rows.smooth @ image @ columns.smooth.T, blurred, atol=1e-5)
    spread = cv2.GaussianBlur(cells, (0, 0), 2.0, borderType=cv2.BORDER_CONSTANT) / 2
    np.testing.assert_allclose(rows.diffuse[1] @ cells @ columns.diffuse[1].T, spread, atol=1e-5)


def test_the_numpy_backend_needs_no_torch():
    code = (
        "import sys; from tests.helpers.composite_scenes import *;"
        "from lipsync_cli.compositing.backend import choose_backend;"
        "from lipsync_cli.compositing.compositor import Compositor; from lipsync_cli.engines.passthrough import *;"
        "info = video(); rgb = smooth_rgb(320, 240); patch = wild(unchanged(crop_of(rgb, alignment(info))));"
        "backend = choose_backend('auto', 'cpu'); frame = frame_of(info, rgb);"
        "assert Compositor(info, backend=backend).blend(frame, [patch]) is not frame;"
        "assert 'torch' not in sys.modules and 'lipsync_cli.composite_torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
