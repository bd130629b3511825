"""``lipsync dub``: from options to a request, and from a report to streams and files."""

from __future__ import annotations

import inspect
import json
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lipsync_cli.cli.app import app
from lipsync_cli.cli.dub import command
from lipsync_cli.cli.paths import resolve_output
from lipsync_cli.cli.progress import progress, remaining, speed
from lipsync_cli.core.errors import InputError, NoFaceError, UsageError
from lipsync_cli.dubbing.profiling import STAGES
from lipsync_cli.settings import DubSettings, option_name
from tests.helpers.fake_pipeline import FakePipeline


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    return FakePipeline().install(monkeypatch)


@pytest.fixture
def files(tmp_path: Path, head_png: Path, voice_wav: Path) -> Path:
    """A folder with head.png and voice.wav."""
    (tmp_path / "head.png").write_bytes(head_png.read_bytes())
    (tmp_path / "voice.wav").write_bytes(voice_wav.read_bytes())
    return tmp_path


def dub(folder: Path, *args: str | Path) -> Result:
    return CliRunner().invoke(app, ["dub", str(folder / "head.png"), str(folder / "voice.wav"), *map(str, args)])


def test_defaults(files: Path, pipeline: FakePipeline) -> None:
    result = dub(files)
    assert result.exit_code == 0, result.stderr
    assert pipeline.plan is not None
    request = pipeline.plan.request
    assert request.output == files / "head.dub.mp4"
    assert (request.preset, request.settings.crf, request.provenance["crf"]) == ("balanced", 16, "preset balanced")
    assert (request.start, request.end, request.container, request.overwrite) == (None, None, None, False)
    assert pipeline.plan.container.name == "mp4"
    assert result.stdout == ""
    assert "45 of 50 frames dubbed" in result.stderr


def test_options_reach_the_request(files: Path, pipeline: FakePipeline) -> None:
    options = "--preset quality --model passthrough --face 2 --silence keep --length audio --start 1:30.5 --end 100"
    more = "--seed 7 --device cpu --crf 20 --codec libx265 --encoder-preset slow --threads 3 --keep -y"
    sets = "--set max_yaw=0.4 --set detect-every=2 --detector dlib-mmod"
    result = dub(files, "-o", files / "x.mkv", *options.split(), *more.split(), *sets.split())
    assert result.exit_code == 0, result.stderr
    assert pipeline.plan is not None
    request = pipeline.plan.request
    settings = request.settings
    assert (settings.model, settings.face, settings.silence, settings.length) == ("passthrough", "2", "keep", "audio")
    assert (settings.seed, settings.device, settings.crf, settings.codec) == (7, "cpu", 20, "libx265")
    assert (settings.encoder_preset, settings.threads, settings.max_yaw) == ("slow", 3, 0.4)
    assert (settings.detect_every, settings.detector) == (2, "dlib-mmod")
    assert (request.start, request.end) == (Fraction(181, 2), Fraction(100))
    assert (request.keep, request.overwrite, request.output) == (True, True, files / "x.mkv")
    assert request.provenance["seed"] == "--seed"
    assert request.provenance["max_yaw"] == "--set max_yaw"


def test_every_option_that_is_a_setting_reaches_the_settings(files: Path, pipeline: FakePipeline) -> None:
    """None is forgotten between the command's signature and the plan."""
    given = {
        "model": "passthrough", "face": "all", "silence": "keep", "length": "audio", "seed": 3, "device": "cpu",
        "threads": 2, "detector": "dlib-mmod", "codec": "mpeg4", "crf": 20, "encoder_preset": "slow",
    }  # fmt: skip
    options = set(inspect.signature(command.dub).parameters) & set(DubSettings.model_fields)
    assert options == given.keys()
    for name, value in given.items():
        assert dub(files, "-y", option_name(name), str(value)).exit_code == 0, name
        assert pipeline.plan is not None
        assert getattr(pipeline.plan.settings, name) == value
        assert pipeline.plan.request.provenance[name] == option_name(name)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--crf", "99"], 2, "--crf cannot be 99: expected 0–51."),
        (["--silence", "clos"], 2, "Did you mean 'close'?"),
        (["--preset", "fast"], 2, "no preset called 'fast'"),
        (["--set", "crf"], 2, "Write --set NAME=VALUE."),
        (["--set", "detect_evry=1"], 2, "Did you mean 'detect_every'?"),
        (["--start", "soon"], 2, "'soon' is not a time"),
        (["--start", "5", "--end", "4"], 2, "does not lie after"),
        (["-o", "x.gif"], 2, "extension .gif says nothing"),
        (["-o", "-", "--json"], 2, "both want stdout"),
        (["-o", "-", "--container", "avi"], 2, "cannot be streamed to stdout"),
        (["-o", "-", "--container", "gif"], 2, "gif is not a container"),
        (["-o", "nowhere/x.mp4"], 7, "folder nowhere does not exist"),
        (["--report", "nowhere/x.json"], 7, "There is no folder nowhere"),
        (["--sheet", "nowhere/x.png"], 7, "There is no folder nowhere"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    files: Path, pipeline: FakePipeline, args: list[str], code: int, words: str
) -> None:
    result = dub(files, *args)
    assert result.exit_code == code
    assert words in result.stderr
    assert pipeline.plan is None


def test_missing_inputs(files: Path, pipeline: FakePipeline) -> None:
    for video, audio in (("none.mp4", "voice.wav"), ("head.png", "none.wav"), (".", "voice.wav")):
        result = CliRunner().invoke(app, ["dub", str(files / video), str(files / audio)])
        assert result.exit_code == 3
    assert pipeline.plan is None


def test_nothing_is_replaced_unasked(files: Path, pipeline: FakePipeline) -> None:
    (files / "head.dub.mp4").write_bytes(b"precious")
    result = dub(files)
    assert result.exit_code == 7
    assert "exists already" in result.stderr
    assert dub(files, "-y").exit_code == 0
    (files / "voice.mp4").write_bytes((files / "voice.wav").read_bytes())
    command = ["dub", files / "head.png", files / "voice.mp4", "-o", files / "voice.mp4", "-y"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 7
    assert "is also an input" in result.stderr


def test_stdout_takes_video_and_nothing_else(files: Path, pipeline: FakePipeline) -> None:
    result = dub(files, "-o", "-", "--container", "mpegts", "--report", files / "r.json")
    assert result.exit_code == 0, result.stderr
    assert pipeline.plan is not None
    assert (pipeline.plan.target, pipeline.plan.container.name) == ("-", "mpegts")
    assert pipeline.plan.encoding.low_latency
    assert result.stdout == ""
    assert (files / "r.json").is_file()


def test_the_report_goes_where_it_is_wanted(files: Path, pipeline: FakePipeline) -> None:
    result = dub(files, "--json", "--report", files / "r.json")
    document = json.loads(result.stdout)
    assert document["schema"] == 1
    assert json.loads((files / "r.json").read_text()) == document
    assert "frames dubbed" in result.stderr
    result = dub(files, "--quiet")
    assert (result.stdout, result.stderr) == ("", "")


def test_an_error_is_one_json_document(files: Path, pipeline: FakePipeline) -> None:
    pipeline.error = NoFaceError("No face in the first 50 frames of head.png.", hint="Try --set min_face_px=32.")
    result = dub(files, "--json")
    assert result.exit_code == 4
    error = json.loads(result.stdout)["error"]
    assert error == {"code": 4, "message": pipeline.error.message, "hint": "Try --set min_face_px=32."}


def test_explain_shows_what_a_dub_would_do_and_does_nothing(files: Path, pipeline: FakePipeline) -> None:
    (files / "head.dub.mp4").write_bytes(b"precious")
    result = dub(files, "--explain", "--crf", "20", "--model", "passthrough")
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["crf", "20", "--crf"] in lines
    assert ["track", "look-ahead", "3", "0.120"] in lines
    assert lines[-len(STAGES) :] == [[stage] for stage in STAGES]
    document = json.loads(dub(files, "--explain", "--model", "passthrough", "--json").stdout)
    assert document["settings"]["crf"] == {"value": 16, "from": "preset balanced"}
    assert document["ledger"][0] == {"stage": "track look-ahead", "frames": 3, "seconds": 0.12}
    assert document["stages"] == [{"stage": stage} for stage in STAGES]
    assert pipeline.plan is None
    assert (files / "head.dub.mp4").read_bytes() == b"precious"


def test_the_environment_and_the_users_file_count(
    files: Path, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "config.toml").write_text('preset = "quality"\nseed = 5\n')
    monkeypatch.setenv("LIPSYNC_CONFIG", str(files / "config.toml"))
    monkeypatch.setenv("LIPSYNC_CRF", "23")
    assert dub(files).exit_code == 0
    assert pipeline.plan is not None
    settings = pipeline.plan.settings
    assert (settings.detect_every, settings.seed, settings.crf) == (1, 5, 23)
    assert pipeline.plan.request.preset == "quality"


@pytest.mark.parametrize(
    ("video", "output", "expected"),
    [
        ("a/talk.mp4", None, "a/talk.dub.mp4"),
        ("a/talk.MKV", None, "a/talk.dub.MKV"),
        ("a/talk.webm", None, "a/talk.dub.webm"),
        ("a/talk.mpg", None, "a/talk.dub.mp4"),
        ("me.jpeg", None, "me.dub.mp4"),
        ("talk.v2.mp4", None, "talk.v2.dub.mp4"),
        ("talk.mp4", "x.mov", "x.mov"),
    ],
)
def test_where_the_result_goes(video: str, output: str | None, expected: str) -> None:
    assert resolve_output(Path(video), Path(output) if output else None) == Path(expected)


def test_a_folder_takes_the_usual_name(tmp_path: Path) -> None:
    assert resolve_output(Path("talk.mp4"), tmp_path) == tmp_path / "talk.dub.mp4"


def test_a_terminal_is_no_place_for_video(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(UsageError):
        resolve_output(Path("talk.mp4"), Path("-"))


def test_progress_without_a_terminal_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    with progress(None, 25.0) as on_progress:
        for i in range(1, 101):
            now[0] += 0.5
            on_progress(i, 200)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert lines[0] == "20 of 200 frames, 2.0 fps (0.08× realtime), 1:30 left"
    assert len(lines) == 5
    with progress(False, 25.0) as on_progress:
        now[0] += 100
        on_progress(1, 2)
    assert capsys.readouterr().err == ""


def test_words_of_progress() -> None:
    assert speed(50, 1.0, None) == "50.0 fps"
    assert speed(0, 0.0, 25.0) == "0.0 fps (0.00× realtime)"
    assert remaining(1, 7201, 1.0) == "2:00:00"


def test_a_video_that_is_none_is_an_input_error(files: Path, pipeline: FakePipeline) -> None:
    (files / "head.png").write_text("not a picture")
    result = dub(files)
    assert result.exit_code == InputError.exit_code
