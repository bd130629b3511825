"""dlib's network."""

from __future__ import annotations

from pathlib import Path

import face_recognition_models
import pytest

from lipsync_cli.core.errors import ModelError
from lipsync_cli.faces.detectors import dlib_mmod
from lipsync_cli.synthetic import draw_head


def test_mmod_without_its_weights_is_a_model_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dlib_mmod._network.cache_clear()
    monkeypatch.setattr(face_recognition_models, "__file__", str(tmp_path / "__init__.py"))
    detector = dlib_mmod.DETECTOR.create_detector("cpu")
    with pytest.raises(ModelError, match=r"mmod_human_face_detector\.dat is missing"):
        detector.detect(draw_head())
