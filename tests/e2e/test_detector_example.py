"""The documentation's detector, installed beside the tool, in dubs and inspections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lipsync_cli.cli.app import app
from tests.helpers.heads import head_box
from tests.helpers.plugins import installed


@pytest.fixture(autouse=True)
def _skin(tmp_path: Path) -> Iterator[None]:
    with installed("detector", tmp_path / "site"):
        yield


def lipsync(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, args)])


def test_example_detector_dubs(head_mp4: Path, voice_wav: Path, tmp_path: Path) -> None:
    quick = ["--preset", "realtime", "--length", "video", "--end", "0.6", "--set", "reference_frames=3", "--json"]
    done = lipsync("dub", head_mp4, voice_wav, "-o", tmp_path / "out.mp4", "--detector", "skin", *quick)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["settings"]["detector"] == "skin"
    assert report["frames_dubbed"] == 15


def test_example_detector_inspects(head_mp4: Path) -> None:
    done = lipsync("inspect", head_mp4, "--end", "0.4", "--detector", "skin", "--json")
    assert done.exit_code == 0, done.output
    (track,) = json.loads(done.stdout)["tracks"]
    assert track["dubbable"] == 1.0
    assert track["box"] == pytest.approx(head_box(), abs=12)


@pytest.mark.parametrize("command", ["dub", "inspect"])
def test_detector_that_nobody_has_is_refused_by_name(head_mp4: Path, voice_wav: Path, command: str) -> None:
    sound = [voice_wav] if command == "dub" else []
    done = lipsync(command, head_mp4, *sound, "--detector", "skinn")
    assert done.exit_code == 2
    assert "no face detector called 'skinn'" in done.output and "Did you mean 'skin'?" in done.output
