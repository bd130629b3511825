"""Clips made from the sample portrait, in the shapes and with the habits of real files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from lipsync_cli.dubbing.pipeline import dub
from lipsync_cli.dubbing.plan import plan
from lipsync_cli.dubbing.report import DubReport
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.settings import resolve_settings
from tests.helpers.paths import SAMPLES
from tests.helpers.synthetic import run_ffmpeg

PORTRAIT, SPEECH = SAMPLES / "portrait.mp4", SAMPLES / "speech.wav"


def portrait_variant(path: Path, *options: str, seconds: float = 1.2) -> Path:
    """The first seconds of the portrait, encoded again with ffmpeg output ``options``."""
    run_ffmpeg("-i", str(PORTRAIT), "-t", str(seconds), "-an", *options, str(path))
    return path


def dub_to(
    output: Path,
    video: Path = PORTRAIT,
    audio: Path = SPEECH,
    *,
    end: float | None = None,
    keep: bool = False,
    **values,
) -> DubReport:
    """Dub in this process with the embedded model; ``values`` are settings."""
    fast = {"detect_every": 5, "detect_size": 480, "reference_frames": 5, "encoder_preset": "ultrafast"}
    chosen, provenance, *_ = resolve_settings(None, {**fast, "length": "video", **values}, environ={})
    until = None if end is None else Fraction(end)
    return dub(plan(DubRequest(video, audio, output, chosen, "test", provenance, True, keep, end=until)))


@pytest.fixture(scope="session")
def short_portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames of the portrait, lossless, so that tests can count on its samples."""
    return portrait_variant(tmp_path_factory.mktemp("e2e") / "short.mkv", "-c:v", "ffv1")
