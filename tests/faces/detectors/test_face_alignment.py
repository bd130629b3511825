"""SFD of face-alignment, without the package: its boxes, and what is said when package or weights are missing."""

from __future__ import annotations

import sys
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest

from lipsync_cli.core.errors import EnvironmentProblem, ModelError
from lipsync_cli.faces.detectors.face_alignment import DETECTOR, FaceAlignmentDetector
from lipsync_cli.faces.detectors.registry import create_reader
from tests.helpers.disc_faces import scene


def install_sfd(monkeypatch: pytest.MonkeyPatch, make: object) -> None:
    """Let ``face_alignment.detection.sfd.FaceDetector`` be ``make``."""
    module = ModuleType("face_alignment.detection.sfd")
    module.FaceDetector = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "face_alignment.detection.sfd", module)


def test_sfd_box_becomes_square_from_mid_forehead_to_chin(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sfd:
        def __init__(self, device: str) -> None:
            self.device = device

        def detect_from_image(self, picture: np.ndarray) -> list[list[float]]:
            assert self.device == "cuda" and picture.flags["C_CONTIGUOUS"]
            return [[100.0, 80.0, 180.0, 190.0, 0.99]]

    install_sfd(monkeypatch, Sfd)
    (found,) = DETECTOR.create_detector("cuda").detect(scene(320, 270)[:, ::-1])
    x0, y0, x1, y1 = found.box
    assert x1 - x0 == pytest.approx(y1 - y0)
    assert (x0 + x1) / 2 == pytest.approx(140)
    assert 80 < y0 < y1 < 190
    assert found.score == 0.99


def test_sfd_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(EnvironmentProblem, match="needs the module face_alignment") as caught:
        create_reader("face-alignment")
    assert "lipsync-cli[face-alignment]" in caught.value.hint
    assert "--detector dlib" in caught.value.hint


def test_sfd_without_its_weights_says_where_they_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(device: str) -> None:
        raise URLError("no route")

    install_sfd(monkeypatch, unreachable)
    with pytest.raises(ModelError, match=r"s3fd-619a316812\.pth.*checkpoints") as caught:
        FaceAlignmentDetector().detect(scene(320, 180))
    assert "--detector dlib" in caught.value.hint
