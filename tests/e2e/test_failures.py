"""Bad input on the real command: one sentence, the documented exit code, nothing half-written."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lipsync_cli import hub
from tests.e2e.conftest import PORTRAIT, SPEECH, portrait_variant
from tests.synthetic import run_ffmpeg


def lipsync(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lipsync_cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def assert_refused(done: subprocess.CompletedProcess, code: int, said: str, folder: Path) -> None:
    assert done.returncode == code, done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(folder.glob("*.part")) and not list(folder.glob("out.*"))


def test_a_face_in_three_frames_is_not_enough(tmp_path: Path) -> None:
    clip = tmp_path / "blink.mkv"
    run_ffmpeg(
        "-f", "lavfi", "-i", "color=gray:s=480x480:r=25:d=4", "-i", str(PORTRAIT), "-filter_complex",
        "[0][1]overlay=enable='between(n,50,52)':shortest=1", "-c:v", "ffv1", str(clip),
    )  # fmt: skip
    done = lipsync("dub", clip, SPEECH, "-o", "out.mp4", "--length", "video", cwd=tmp_path)
    assert_refused(done, 4, "in only 3 of 100 frames", tmp_path)


def test_face_seven_of_one(tmp_path: Path) -> None:
    clip = portrait_variant(tmp_path / "in.mkv", "-c:v", "ffv1", seconds=0.4)
    done = lipsync("dub", clip, SPEECH, "-o", "out.mp4", "--face", "7", "--length", "video", cwd=tmp_path)
    assert_refused(done, 4, "7", tmp_path)


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """A copy of the embedded model that a test may spoil."""
    folder = tmp_path / "model"
    shutil.copytree(hub.models_dir() / "lip-forcing-mini", folder)
    return folder


def test_damaged_weights(tmp_path: Path, own_model: Path) -> None:
    weights = own_model / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 0xFF
    weights.write_bytes(bytes(data))
    done = lipsync("dub", PORTRAIT, SPEECH, "-o", "out.mp4", "--model", own_model, cwd=tmp_path)
    assert_refused(done, 5, "is damaged", tmp_path)


def test_weights_of_another_version(tmp_path: Path, own_model: Path) -> None:
    card = own_model / "model.toml"
    card.write_text(card.read_text().replace("version = 1", "version = 99"))
    done = lipsync("dub", PORTRAIT, SPEECH, "-o", "out.mp4", "--model", own_model, cwd=tmp_path)
    assert_refused(done, 5, "version 99", tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_middle(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "lipsync_cli", "dub", str(PORTRAIT), str(SPEECH), "-o", "out.mp4"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in said
