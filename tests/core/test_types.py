"""The values that travel between stages."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import Alignment, Crop, Face, FaceState, Frame, GeneratedCrop, VideoInfo
from tests.helpers.disc_faces import video_info


def stored_corners(info: VideoInfo) -> np.ndarray:
    """Outer corners of the first, the last of the first row, and the last pixel as stored."""
    right, bottom = info.width - 0.5, info.height - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom]])


@pytest.mark.parametrize(
    ("rotation", "turned"),
    [
        (0, [(-0.5, -0.5), (639.5, -0.5), (639.5, 359.5)]),
        (90, [(359.5, -0.5), (359.5, 639.5), (-0.5, 639.5)]),
        (180, [(639.5, 359.5), (-0.5, 359.5), (-0.5, -0.5)]),
        (270, [(-0.5, 639.5), (-0.5, -0.5), (359.5, -0.5)]),
    ],
)
def test_video_info_maps_storage_to_display_clockwise(rotation: int, turned: list[tuple[float, float]]) -> None:
    info = video_info(640, 360, rotation=rotation)
    assert info.display_size == ((360, 640) if rotation in (90, 270) else (640, 360))
    np.testing.assert_allclose(transform_points(info.to_display, stored_corners(info)), turned)


def test_video_info_stretches_pixels_that_are_not_square() -> None:
    info = video_info(720, 576, sar=Fraction(16, 15))
    assert info.display_size == (768, 576)
    corners = transform_points(info.to_display, stored_corners(info))
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [767.5, -0.5], [767.5, 575.5]])


@pytest.mark.parametrize("bad", [{"width": 0}, {"height": -2}, {"rotation": 45}])
def test_video_info_refuses_what_no_stream_has(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must have a size|clockwise degrees"):
        replace(video_info(640, 360), **bad)


def test_frame_time_is_exact() -> None:
    frame = Frame(3, 1001, Fraction(1, 30000), (), "yuv420p")
    assert frame.time == Fraction(1001, 30000)


def test_frame_prints_shapes_rather_than_pixels() -> None:
    planes = tuple(np.zeros(shape, np.uint8) for shape in ((36, 64), (18, 32), (18, 32)))
    frame = Frame(7, 50, Fraction(1, 25), planes, "yuv420p", np.zeros((36, 64, 3), np.uint8))
    assert repr(frame) == "Frame(index=7, time=2.0000, yuv420p 36×64 18×32 18×32)"
    assert repr(frame.without_rgb()) == repr(frame)
    assert frame.without_rgb().rgb is None and frame.without_rgb().planes is planes


def test_face_has_68_landmarks() -> None:
    face = Face(0, (10.0, 20.0, 70.0, 80.0), np.zeros((68, 2)), 1.0, 0.0, FaceState.OK)
    assert face.width_px == 60
    with pytest.raises(ValueError, match=r"must be \[68 2\], got \(67, 2\)"):
        replace(face, landmarks=np.zeros((67, 2)))


def test_crop_enlargement_is_pixels_of_the_crop_for_one_of_the_picture() -> None:
    turned = np.array([[0.0, -2.5, 4.0], [2.5, 0.0, 9.0]])
    crop = Crop(np.zeros((8, 8, 3), np.uint8), Alignment(turned, 8), np.zeros((68, 2)))
    assert crop.enlargement == 2.5


def test_generated_crop_comes_to_the_host_as_an_array() -> None:
    rgb = np.random.default_rng(0).random((4, 4, 3), np.float32)
    assert GeneratedCrop(rgb).on_host() is rgb
    left = GeneratedCrop(torch.from_numpy(rgb)).on_host()
    assert isinstance(left, np.ndarray)
    np.testing.assert_array_equal(left, rgb)
