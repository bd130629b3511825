"""What every detector and every landmark predictor keeps: those of the package, and the documentation's example."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_cli.faces.detection import Detection, iou
from lipsync_cli.faces.detectors import face_alignment
from lipsync_cli.faces.detectors.dlib import DlibDetector
from lipsync_cli.faces.detectors.protocol import DetectorSpec, FaceDetector, LandmarkPredictor
from lipsync_cli.faces.detectors.registry import BUILT_IN, find_detector
from lipsync_cli.faces.face_patch import PATCH_PX, UNIT_TO_PATCH, cut_patch, pose_of_box
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.synthetic import draw_head
from tests.helpers.disc_faces import scene
from tests.helpers.heads import head_box
from tests.helpers.plugins import installed

NAMES = [*BUILT_IN, "skin"]
HEAD, BOX = draw_head(320, 240), head_box(320, 240)
PATCH = cut_patch(HEAD, np.eye(2, 3), pose_of_box(BOX)).rgb


class SfdStandIn:
    """Answers as face-alignment's SFD does, whose weights cannot be had here: rows of boxes from hairline to chin."""

    def detect_from_image(self, picture: np.ndarray) -> list[list[float]]:
        rows = []
        for (x0, _, x1, bottom), score in ((d.box, d.score) for d in DlibDetector().detect(picture)):
            side, centre = x1 - x0, (x0 + x1) / 2
            hairline = bottom - 1.13 * side
            rows.append([centre - 0.475 * side, hairline, centre + 0.475 * side, bottom + 0.05 * side, score / 4])
        return rows


@pytest.fixture(params=NAMES)
def spec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DetectorSpec]:
    with installed("detector", tmp_path):
        if request.param == "face-alignment":
            monkeypatch.setattr(face_alignment, "_load_sfd", lambda device: SfdStandIn())
            yield face_alignment.DETECTOR
        else:
            yield find_detector(request.param)


@pytest.fixture
def detector(spec: DetectorSpec) -> FaceDetector:
    return spec.create_detector("cpu")


@pytest.fixture(params=[1, 4])
def predictor(spec: DetectorSpec, request: pytest.FixtureRequest) -> LandmarkPredictor:
    return spec.create_predictor(request.param)


class TestDetector:
    """The contract of FaceDetector."""

    def test_detector_keeps_the_protocol(self, detector: FaceDetector) -> None:
        assert isinstance(detector, FaceDetector)

    def test_detector_boxes_a_face_from_mid_forehead_to_chin(self, detector: FaceDetector) -> None:
        (found,) = detector.detect(HEAD)
        x0, y0, x1, y1 = found.box
        assert 0 <= x0 < x1 <= HEAD.shape[1] and 0 <= y0 < y1 <= HEAD.shape[0]
        assert 0.8 < (x1 - x0) / (y1 - y0) < 1.25
        assert iou(found.box, BOX) > 0.6
        assert abs(y0 - BOX[1]) < 0.2 * (BOX[3] - BOX[1]) and abs(y1 - BOX[3]) < 0.2 * (BOX[3] - BOX[1])

    def test_detector_finds_a_face_in_the_patch_that_tracking_shows_it(self, detector: FaceDetector) -> None:
        (found,) = detector.detect(PATCH, thorough=False)
        assert iou(found.box, (29.5, 29.5, 129.5, 129.5)) > 0.5

    def test_detector_answers_the_same_again_and_leaves_the_picture(self, detector: FaceDetector) -> None:
        picture = HEAD.copy()
        assert detector.detect(picture) == detector.detect(picture)
        np.testing.assert_array_equal(picture, HEAD)

    def test_detector_names_the_best_face_first_and_none_twice(self, detector: FaceDetector) -> None:
        small = cv2.resize(HEAD, (160, 120), interpolation=cv2.INTER_AREA)
        beside = np.pad(small, ((60, 60), (0, 0), (0, 0)), mode="edge")
        found = detector.detect(np.ascontiguousarray(np.hstack([beside, HEAD])))
        assert found
        assert all(isinstance(face, Detection) and np.isfinite([*face.box, face.score]).all() for face in found)
        assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
        assert all(iou(a.box, b.box) < 0.4 for i, a in enumerate(found) for b in found[:i])

    @pytest.mark.parametrize("thorough", [True, False])
    def test_detector_finds_nobody_where_nobody_is(self, detector: FaceDetector, thorough: bool) -> None:
        for picture in (np.full((180, 320, 3), 128, np.uint8), np.zeros((180, 320, 3), np.uint8), scene(320, 180)):
            assert detector.detect(picture, thorough=thorough) == []

    @pytest.mark.parametrize("shape", [(1, 1), (8, 8), (40, 30), (9, 200)])
    def test_detector_takes_a_tiny_picture(self, detector: FaceDetector, shape: tuple[int, int]) -> None:
        assert detector.detect(np.full((*shape, 3), 90, np.uint8)) == []

    def test_detector_finds_at_least_as_much_if_thorough(self, detector: FaceDetector) -> None:
        for scale in (1.0, 0.4):
            picture = cv2.resize(HEAD, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            assert len(detector.detect(picture)) >= len(detector.detect(picture, thorough=False))


class TestPredictor:
    """The contract of LandmarkPredictor."""

    def test_predictor_keeps_the_protocol(self, predictor: LandmarkPredictor) -> None:
        assert isinstance(predictor, LandmarkPredictor)

    def test_predictor_reads_68_points_where_the_face_has_them(self, predictor: LandmarkPredictor) -> None:
        points = predictor.predict(PATCH)
        assert points.shape == (68, 2) and points.dtype == np.float64
        drawn = MEAN_FACE[:, :2] @ UNIT_TO_PATCH[:, :2].T + UNIT_TO_PATCH[:, 2]
        assert np.linalg.norm(points - drawn, axis=1).mean() < 6
        assert np.linalg.norm(points - drawn, axis=1).max() < 25

    def test_predictor_stays_near_the_patch_whatever_it_shows(self, predictor: LandmarkPredictor) -> None:
        noise = np.random.default_rng(0).integers(0, 256, PATCH.shape, np.uint8)
        for patch in (noise, np.zeros_like(PATCH), np.full_like(PATCH, 255)):
            points = predictor.predict(patch)
            assert np.isfinite(points).all()
            assert points.min() > -PATCH_PX / 2 and points.max() < 1.5 * PATCH_PX

    def test_predictor_answers_the_same_again_and_leaves_the_patch(self, predictor: LandmarkPredictor) -> None:
        patch = PATCH.copy()
        np.testing.assert_array_equal(predictor.predict(patch), predictor.predict(patch))
        np.testing.assert_array_equal(patch, PATCH)

    def test_predictor_follows_the_face_in_the_patch(self, predictor: LandmarkPredictor) -> None:
        moved = cut_patch(HEAD, np.eye(2, 3), pose_of_box((BOX[0] + 6, BOX[1] + 6, BOX[2] + 6, BOX[3] + 6))).rgb
        step = (predictor.predict(PATCH) - predictor.predict(moved)).mean(0)
        np.testing.assert_allclose(step, 6 * 100 / (BOX[2] - BOX[0]), atol=2.0)
