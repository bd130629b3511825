"""Crops are the same whatever way the file stores its picture."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from lipsync_cli.core.crop_templates import LATENTSYNC, LOWER_FACE, CropTemplate
from lipsync_cli.core.types import Crop, VideoInfo
from lipsync_cli.faces.crop import cut_crop
from lipsync_cli.faces.tracking.tracker import Tracker
from tests.helpers.disc_faces import (
    disc_centres,
    disc_reader,
    frame,
    paint_face,
    pose,
    scene,
    video_info,
)

WIDTH, HEIGHT, SIZE = 480, 270, 128
SHOWN = cv2.GaussianBlur(paint_face(scene(WIDTH, HEIGHT), pose(230, 120, 120, degrees=7)), (0, 0), 1.5)


def crop_of(stored: np.ndarray, info: VideoInfo, template: CropTemplate = LOWER_FACE) -> Crop:
    shown = frame(0, stored)
    tracker = Tracker(info, disc_reader())
    face = next(tracker.run(iter([shown]))).faces[0]
    return cut_crop(shown, face, info, template, SIZE)


def difference(a: Crop, b: Crop) -> float:
    return float(np.abs(a.rgb.astype(float) - b.rgb.astype(float)).mean())


@pytest.fixture(scope="module")
def upright() -> Crop:
    return crop_of(SHOWN, video_info(WIDTH, HEIGHT))


def test_crop_landmarks_lie_where_it_shows_them(upright: Crop) -> None:
    red, green, _ = disc_centres(upright.rgb)
    np.testing.assert_allclose(red[0], upright.landmarks[36:42].mean(0), atol=1.0)
    np.testing.assert_allclose(green[0], upright.landmarks[42:48].mean(0), atol=1.0)
    np.testing.assert_allclose(upright.landmarks[36:42].mean(0), [0.3 * SIZE, 0.08 * SIZE], atol=2.0)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_crop_of_a_turned_file_is_the_same(upright: Crop, rotation: int) -> None:
    stored = np.ascontiguousarray(np.rot90(SHOWN, rotation // 90))
    info = video_info(stored.shape[1], stored.shape[0], rotation=rotation)
    assert info.display_size == (WIDTH, HEIGHT)
    assert difference(crop_of(stored, info), upright) < 0.5


@pytest.mark.parametrize("sar", [Fraction(4, 3), Fraction(3, 4)])
def test_crop_of_an_anamorphic_file_is_the_same(upright: Crop, sar: Fraction) -> None:
    width = round(WIDTH / sar)
    stored = cv2.resize(SHOWN, (width, HEIGHT), interpolation=cv2.INTER_AREA if sar > 1 else cv2.INTER_LINEAR)
    info = video_info(width, HEIGHT, sar=sar)
    assert info.display_size == (WIDTH, HEIGHT)
    assert difference(crop_of(stored, info), upright) < 2.5


def test_crop_of_a_narrow_template_is_stretched_to_the_square() -> None:
    crop = crop_of(SHOWN, video_info(WIDTH, HEIGHT), LATENTSYNC)
    left, right, nose = LATENTSYNC.anchors(crop.landmarks) / SIZE
    assert crop.rgb.shape == (SIZE, SIZE, 3)
    assert left[0] == pytest.approx(17 / 75, abs=0.05)
    assert right[0] == pytest.approx(58 / 75, abs=0.05)
    assert nose[0] == pytest.approx(0.5, abs=0.05)


def test_crop_of_a_frame_without_pixels_is_an_error() -> None:
    shown = frame(0, SHOWN)
    info = video_info(WIDTH, HEIGHT)
    face = next(Tracker(info, disc_reader()).run(iter([shown]))).faces[0]
    with pytest.raises(ValueError, match="no RGB view left"):
        cut_crop(shown.without_rgb(), face, info, LOWER_FACE, SIZE)
