"""The drawn head and the voice-like tone."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from lipsync_cli.faces.detection import iou
from lipsync_cli.faces.detectors.dlib import DlibDetector
from lipsync_cli.synthetic import draw_head, write_voice
from tests.helpers.heads import head_box


def test_drawn_head_opens_its_mouth_and_nothing_else() -> None:
    closed, opened = draw_head(), draw_head(openness=0.1)
    rows, columns = np.nonzero(np.abs(closed.astype(int) - opened).max(axis=2) > 8)
    assert closed.shape == (360, 480, 3)
    assert 190 < rows.min() < rows.max() < 270
    assert 200 < columns.min() < columns.max() < 280


def test_drawn_head_is_found_by_a_detector() -> None:
    (found,) = DlibDetector().detect(draw_head())
    assert iou(found.box, head_box()) > 0.6


def test_voice_is_mono_wav_with_pauses(tmp_path: Path) -> None:
    write_voice(tmp_path / "voice.wav", 2.0)
    with wave.open(str(tmp_path / "voice.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, 16_000, 32_000)
        samples = np.frombuffer(file.readframes(32_000), "<i2")
    assert not samples[:4000].any()
    assert not samples[-4000:].any()
    assert 8000 < np.abs(samples).max() < 32_000
