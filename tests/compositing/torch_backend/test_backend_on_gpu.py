"""Composition on a GPU: the pictures of the CPU's, from several threads, while the device has other work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from lipsync_cli.compositing.compositor import Compositor
from lipsync_cli.compositing.torch_backend.backend import TorchBackend
from lipsync_cli.core.types import GeneratedCrop
from tests.compositing.torch_backend.test_backend import PLACES, assert_same_picture, drawn
from tests.helpers.composite_scenes import FORMATS, alignment, assert_untouched_outside, frame_of, smooth_rgb, video

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("place", PLACES)
def test_pictures_are_those_of_the_cpu(pix_fmt, place):
    """Also of a drawing that is there already; from where the CPU fetches it."""
    info = video(pix_fmt)
    rgb = smooth_rgb(info.width, info.height)
    frame, placed = frame_of(info, rgb, noise=3), alignment(info, **place)
    patch = drawn(rgb, placed, jaw=True)
    left = replace(patch, drawing=GeneratedCrop(torch.from_numpy(patch.drawing.rgb).cuda(), patch.drawing.jaw))
    expected, fetched = (Compositor(info).blend(frame, [given]) for given in (patch, left))
    for one, other in zip(expected.planes, fetched.planes, strict=True):
        np.testing.assert_array_equal(one, other)
    for given in (patch, left):
        actual = Compositor(info, backend=TorchBackend(torch.device("cuda"))).blend(frame, [given])
        assert_same_picture(expected, actual, frame, share=0.02)
        assert_untouched_outside(info, frame, actual, placed)


def test_threads_share_a_backend_beside_a_busy_stream():
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
