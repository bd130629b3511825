"""Bad input on the real command: one sentence, the documented exit code, nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lipsync_cli import hub
from lipsync_cli.cli.app import app
from lipsync_cli.media.ffmpeg import find_ffmpeg
from tests.e2e.conftest import PORTRAIT, SPEECH, portrait_variant
from tests.helpers.synthetic import run_ffmpeg

PATIENCE_S = 300
"""When a program that should have got somewhere is taken for hanging; a busy machine is none."""


def dub_in(folder: Path, video: Path, *options: str | Path) -> Result:
    """``lipsync dub`` to ``out.mp4`` in this process: what it loads is loaded once for all tests."""
    return CliRunner().invoke(app, ["dub", *map(str, (video, SPEECH, "-o", folder / "out.mp4", *options))])


def assert_refused(done: Result, code: int, said: str, folder: Path) -> None:
    assert done.exit_code == code, done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(folder.glob("*.part")) and not list(folder.glob("out.*"))


def test_a_face_in_three_frames_is_not_enough(tmp_path: Path) -> None:
    clip = tmp_path / "blink.mkv"
    run_ffmpeg(
        "-f", "lavfi", "-i", "color=gray:s=480x480:r=25:d=2", "-i", str(PORTRAIT), "-filter_complex",
        "[0][1]overlay=enable='between(n,25,27)':shortest=1", "-c:v", "ffv1", str(clip),
    )  # fmt: skip
    done = dub_in(tmp_path, clip, "--length", "video")
    assert_refused(done, 4, "in only 3 of 50 frames", tmp_path)


def test_face_seven_of_one(tmp_path: Path) -> None:
    clip = portrait_variant(tmp_path / "in.mkv", "-c:v", "ffv1", seconds=0.4)
    done = dub_in(tmp_path, clip, "--face", "7", "--length", "video")
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
    done = dub_in(tmp_path, PORTRAIT, "--model", own_model)
    assert_refused(done, 5, "is damaged", tmp_path)


def test_weights_of_another_version(tmp_path: Path, own_model: Path) -> None:
    card = own_model / "model.toml"
    card.write_text(card.read_text().replace("version = 1", "version = 99"))
    done = dub_in(tmp_path, PORTRAIT, "--model", own_model)
    assert_refused(done, 5, "version 99", tmp_path)


def wait_for_part(folder: Path, process: subprocess.Popen) -> None:
    """Until ``process`` has begun its output in ``folder``, or has ended without."""
    deadline = time.monotonic() + PATIENCE_S
    while not list(folder.glob("*.part")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_middle(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "lipsync_cli", "dub", str(PORTRAIT), str(SPEECH), "-o", "out.mp4"]
    command += ["--preset", "realtime"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for_part(tmp_path, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, said
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in said


# The least work a dub can be: nothing generated, faces looked for rarely and read once.
QUICK = (
    "--model", "passthrough", "--device", "cpu", "--preset", "realtime", "--set", "landmark_samples=1",
    "--length", "video",
)  # fmt: skip


def test_the_disk_fills_up_in_the_middle(tiny_disk: Path) -> None:
    done = dub_in(tiny_disk, PORTRAIT, *QUICK, "--crf", "1")
    assert_refused(done, 7, "disk is full", tiny_disk)
    assert list(tiny_disk.iterdir()) == []


def test_ffmpeg_is_killed_in_the_middle(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    environ, pid_file = ffmpeg_that_notes_its_pid(tmp_path)
    command = [sys.executable, "-m", "lipsync_cli", "dub", str(PORTRAIT), str(SPEECH), "-o", "out.mp4", *QUICK]
    process = subprocess.Popen(command, cwd=here, env=environ, stderr=subprocess.PIPE, text=True)
    wait_for_part(here, process)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 7, said
    assert "ffmpeg was killed (signal 9)" in said
    assert "Traceback" not in said
    assert list(here.iterdir()) == []


def ffmpeg_that_notes_its_pid(folder: Path) -> tuple[dict[str, str], Path]:
    """An environment with the real ffmpeg behind a script on PATH, and the file with the pid of its latest run."""
    script, pid_file = folder / "bin" / "ffmpeg", folder / "pid"
    script.parent.mkdir()
    script.write_text(f"""#!/bin/sh\necho $$ > '{pid_file}'\nexec '{find_ffmpeg().path}' "$@"\n""")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}"}, pid_file


def test_the_reader_of_stdout_leaves(tmp_path: Path) -> None:
    """As with ``| head -c 2000``: no failure of ours, so exit code 0, and a note of what was not made."""
    command = [sys.executable, "-m", "lipsync_cli", "dub", str(PORTRAIT), str(SPEECH), "-o", "-", *QUICK]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert len(process.stdout.read(2000)) == 2000
    process.stdout.close()
    said = process.stderr.read().decode()
    assert process.wait(timeout=PATIENCE_S) == 0, said
    assert "left after" in said and "rest was not made" in said
    assert "Traceback" not in said and "Error" not in said
    assert list(tmp_path.iterdir()) == []
