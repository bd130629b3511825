"""Landmarks are found near where a face is expected, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import Float64
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.faces.tracking.landmark_fit import (
    MIN_SIMILARITY,
    LandmarkFit,
    LandmarkFitter,
    appearance_of,
    box_of_pose,
    correlation,
    plausible,
)
from tests.helpers.disc_faces import DiscPredictor, frame, paint_face, pose, scene, video_info

WIDTH, HEIGHT = 480, 270
PLACE = pose(240, 130, 90, 10)
TRUTH = transform_points(PLACE, MEAN_FACE[:, :2])
SHOWN = frame(0, paint_face(scene(WIDTH, HEIGHT), PLACE))


class Counting(DiscPredictor):
    def __init__(self) -> None:
        self.calls = 0

    def predict(self, patch: np.ndarray) -> np.ndarray:
        self.calls += 1
        return super().predict(patch)


def fitted(expected: Float64, appearance: np.ndarray | None = None, passes: int = 2) -> tuple[LandmarkFit, int]:
    predictor = Counting()
    fit = LandmarkFitter(video_info(WIDTH, HEIGHT), predictor).fit(SHOWN, expected, appearance, passes=passes)
    return fit, predictor.calls


def test_fit_finds_the_face_it_was_sent_to() -> None:
    fit, _ = fitted(pose(246, 126, 84, 0))
    np.testing.assert_allclose(fit.landmarks, TRUTH, atol=0.6)
    np.testing.assert_allclose(fit.pose, PLACE, atol=0.8)
    assert fit.width_px == pytest.approx(90, abs=0.5)
    assert abs(fit.head.yaw) < 0.05 and fit.head.roll * 90 == pytest.approx(10, abs=1)
    assert fit.similarity == 1.0
    np.testing.assert_allclose(transform_points(fit.patch.matrix, fit.landmarks), fit.in_patch)


@pytest.mark.parametrize(("shift", "calls"), [(1, 1), (30, 2)])
def test_fit_reads_again_only_what_lay_far_from_where_it_was_expected(shift: float, calls: int) -> None:
    appearance = fitted(PLACE)[0].appearance
    assert fitted(pose(240 + shift, 130, 90, 10), appearance)[1] == calls


def test_fit_reads_a_new_face_twice_and_no_more_often_than_it_may() -> None:
    assert fitted(PLACE)[1] == 2
    assert fitted(pose(275, 150, 110), passes=3)[1] <= 3
    assert fitted(pose(275, 150, 110), passes=1)[1] == 1


def test_similarity_is_high_for_the_same_face_and_low_for_another_or_a_wall() -> None:
    appearance = fitted(PLACE)[0].appearance
    fitter = LandmarkFitter(video_info(WIDTH, HEIGHT), DiscPredictor())
    moved = frame(1, paint_face(scene(WIDTH, HEIGHT), pose(250, 134, 94, 12)))
    assert fitter.fit(moved, PLACE, appearance).similarity > 0.9
    assert fitter.fit(frame(1, scene(WIDTH, HEIGHT)), PLACE, appearance).similarity < MIN_SIMILARITY


def test_appearance_does_not_change_with_light_and_contrast() -> None:
    patch = fitted(PLACE)[0].patch.rgb
    appearance = appearance_of(patch)
    assert appearance.shape == (24, 24) and appearance.dtype == np.float32
    assert appearance.mean() == pytest.approx(0, abs=1e-6)
    assert correlation(appearance, appearance) == pytest.approx(1)
    darker = (patch * 0.6 + 20).astype(np.uint8)
    assert correlation(appearance, appearance_of(darker)) > 0.99


def test_appearance_of_a_blank_patch_correlates_with_nothing() -> None:
    blank = appearance_of(np.full((160, 160, 3), 90, np.uint8))
    assert correlation(blank, fitted(PLACE)[0].appearance) == 0


def test_plausible_fit_has_about_the_size_it_had() -> None:
    fit, display = fitted(PLACE)[0], (WIDTH, HEIGHT)
    assert plausible(fit, PLACE, display)
    assert not plausible(fit, pose(240, 130, 90 / 1.3, 10), display)
    assert not plausible(fit, pose(240, 130, 90 * 1.3, 10), display)


def test_plausible_fit_has_its_middle_in_the_picture() -> None:
    fit = fitted(PLACE)[0]
    assert not plausible(fit, PLACE, (200, HEIGHT))
    assert not plausible(fit, PLACE, (WIDTH, 100))


def test_plausible_fit_has_the_shape_of_a_face() -> None:
    fit = fitted(PLACE)[0]
    rng = np.random.default_rng(0)
    bent = LandmarkFit(
        fit.landmarks + rng.normal(0, 15, (68, 2)), fit.pose, fit.patch, fit.head, fit.appearance, fit.similarity
    )
    assert not plausible(bent, PLACE, (WIDTH, HEIGHT))


def test_box_of_pose_is_upright_however_the_face_is_tilted() -> None:
    for degrees in (0, 30, 90):
        np.testing.assert_allclose(box_of_pose(pose(240, 130, 90, degrees)), (195, 85, 285, 175), atol=1e-9)
