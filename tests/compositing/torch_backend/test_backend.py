"""Composition with torch gives what composition with OpenCV gives, to a code value, and leaves the rest alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.compositing.compositor import Compositor
from lipsync_cli.compositing.torch_backend.backend import TorchBackend
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
def test_torch_blends_as_numpy_in_every_format_and_place(pix_fmt, place):
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
def test_torch_blends_as_numpy_with_every_option(color_match, keep_detail, jaw, weight, size):
    info = video("yuv422p10le")
    rgb = smooth_rgb(info.width, info.height)
    frame, patch = frame_of(info, rgb, noise=8), drawn(rgb, alignment(info, size), jaw=jaw, weight=weight)
    options = {"color_match": color_match, "keep_detail": keep_detail, "feather": 0.05, "region": LATENTSYNC_REGION}
    expected, actual = both(info, frame, [patch], **options)
    assert assert_same_picture(expected, actual, frame) > 2000


@pytest.mark.parametrize("changes", ORIENTED)
def test_torch_blends_as_numpy_in_rotated_and_anamorphic_pictures(changes):
    info = video("yuv420p", **changes)
    rgb = smooth_rgb(info.width, info.height)
    frame, placed = frame_of(info, rgb), alignment(info)
    expected, actual = both(info, frame, [drawn(rgb, placed)])
    assert assert_same_picture(expected, actual, frame) > 1500
    assert_untouched_outside(info, frame, actual, placed)


def test_torch_blends_as_numpy_patches_on_top_of_each_other():
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
def test_torch_blends_as_numpy_for_any_alignment(pix_fmt, size, shape, face, angle, at, rotation):
    info = video(pix_fmt, *shape, rotation=rotation)
    rgb = smooth_rgb(*shape)
    frame, placed = frame_of(info, rgb, noise=2), alignment(info, size, face=face, angle=angle, at=at)
    expected, actual = both(info, frame, [wild(drawn(rgb, placed))])
    assert_same_picture(expected, actual, frame, share=0.02)
    assert_untouched_outside(info, frame, actual, placed)


@pytest.mark.gpu
@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("place", PLACES)
def test_torch_on_cuda_blends_as_numpy(pix_fmt, place):
    """Also of a drawing that is there already; from where the CPU fetches it."""
    info = video(pix_fmt)
    rgb = smooth_rgb(info.width, info.height)
    frame, placed = frame_of(info, rgb, noise=3), alignment(info, **place)
    patch = drawn(rgb, placed, jaw=True)
    left = replace(patch, drawing=GeneratedCrop(torch.from_numpy(patch.drawing.rgb).cuda(), patch.drawing.jaw))
    expected, fetched = (Compositor(info).blend(frame, [item]) for item in (patch, left))
    for one, other in zip(expected.planes, fetched.planes, strict=True):
        np.testing.assert_array_equal(one, other)
    for item in (patch, left):
        actual = Compositor(info, backend=TorchBackend(torch.device("cuda"))).blend(frame, [item])
        assert_same_picture(expected, actual, frame, share=0.02)
        assert_untouched_outside(info, frame, actual, placed)


@pytest.mark.gpu
def test_torch_on_cuda_serves_threads_beside_a_busy_stream():
    info = video("yuv420p", 640, 480)
    rgb = smooth_rgb(info.width, info.height)
    frames = [frame_of(info, rgb, noise=3, index=index) for index in range(32)]
    patches = [drawn(rgb, alignment(info, 192, face=200.0 + index), seed=index) for index in range(32)]
    expected = [Compositor(info).blend(frame, [patch]) for frame, patch in zip(frames, patches, strict=True)]
    compositor = Compositor(info, backend=TorchBackend(torch.device("cuda")))
    busy = torch.randn(4096, 4096, device="cuda")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            busy = busy @ busy / 64
        actual = list(pool.map(lambda pair: compositor.blend(pair[0], [pair[1]]), zip(frames, patches, strict=True)))
    for before, one, other in zip(frames, expected, actual, strict=True):
        assert_same_picture(one, other, before, share=0.02)
