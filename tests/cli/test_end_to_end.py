"""The installed command on a drawn head, with the real pipeline and the ``passthrough`` model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lipsync_cli.cli.app import app
from lipsync_cli.core.contact_sheets import save_png
from lipsync_cli.media.probe import probe


def lipsync(*args: str | Path, cwd: Path, text: bool = True) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lipsync_cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=text, cwd=cwd, env=os.environ.copy(), check=False)


def in_this_process(*args: str | Path) -> Result:
    """The same where nothing of the process itself is looked at: what it loads is loaded already."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_a_dub_with_everything_written(head_mp4: Path, voice_wav: Path, no_part_files: Path) -> None:
    here = no_part_files
    done = lipsync(
        "dub", head_mp4, voice_wav, "-o", "out.mp4", "--model", "passthrough", "--preset", "realtime",
        "--sheet", "sheet.png", "--report", "report.json", "--json", cwd=here,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((here / "report.json").read_text())
    assert (report["frames_in"], report["frames_out"], report["frames_dubbed"]) == (50, 50, 0)
    assert report["passed_through"] == {"unchanged": 50}
    assert "No frame was changed: 50 show a face to dub" in report["warnings"][-1]
    assert (report["preset"], report["model"]["name"]) == ("realtime", "passthrough")
    info = probe(here / "out.mp4")
    assert info.video is not None
    assert (info.video.frames, info.video.width, len(info.audio)) == (50, 480, 1)
    assert (here / "sheet.png").stat().st_size > 10_000
    assert "0 of 50 frames dubbed" in done.stderr
    assert "Passed through untouched: 50 unchanged" in done.stderr


def test_a_part_to_stdout_is_video_and_nothing_else(head_mp4: Path, voice_wav: Path, tmp_path: Path) -> None:
    options = [
        "--model",
        "passthrough",
        "--preset",
        "realtime",
        "--start",
        "0.4",
        "--end",
        "1",
        "--container",
        "mpegts",
    ]
    done = lipsync("dub", head_mp4, voice_wav, "-o", "-", *options, cwd=tmp_path, text=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout[:1] == b"\x47"
    assert len(done.stdout) % 188 == 0
    assert list(tmp_path.iterdir()) == []


def test_nobody_to_dub_is_exit_code_4(voice_wav: Path, no_part_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(no_part_files)
    wall = np.random.default_rng(0).integers(80, 90, (120, 160, 3), dtype=np.uint8)
    save_png(no_part_files / "wall.png", wall)
    options = ["--model", "passthrough", "--length", "audio", "--json", "--no-progress"]
    done = in_this_process("dub", "wall.png", voice_wav, *options)
    assert done.exit_code == 4, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == 4
    assert not (no_part_files / "wall.dub.mp4").exists()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["HEAD", "PNG"], 3),
        (["VOICE", "VOICE"], 3),
        (["HEAD", "VOICE", "--model", "nothing"], 5),
        (["HEAD", "VOICE", "--codec", "nothing", "--model", "passthrough"], 2),
        (["HEAD", "VOICE", "--face", "someone", "--model", "passthrough"], 2),
    ],
)
def test_exit_codes(
    args: list[str], code: int, head_mp4: Path, head_png: Path, voice_wav: Path, no_part_files: Path
) -> None:
    files = {"HEAD": head_mp4, "PNG": head_png, "VOICE": voice_wav}
    done = lipsync("dub", *[files.get(arg, arg) for arg in args], "-o", "out.mp4", cwd=no_part_files)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stdout == ""
    assert not (no_part_files / "out.mp4").exists()


def test_explain_knows_the_latency(head_mp4: Path, voice_wav: Path) -> None:
    done = in_this_process("dub", head_mp4, voice_wav, "--model", "passthrough", "--explain", "--json")
    plan = json.loads(done.stdout)
    assert done.exit_code == 0, done.stderr
    assert all(entry["seconds"] >= 0 for entry in plan["ledger"])
    assert "decode" in {stage["stage"] for stage in plan["stages"]}
