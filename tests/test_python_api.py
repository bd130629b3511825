"""The Python interface: its signatures, its documented examples, one load for many dubs, no traces left behind."""

from __future__ import annotations

import doctest
import gc
import inspect as signatures
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from fractions import Fraction
from pathlib import Path
from statistics import median

import pytest

import lipsync_cli
from lipsync_cli import (
    DubReport,
    InputError,
    LipsyncError,
    OutputError,
    UsageError,
    dub,
    dub_frames,
    inspect,
    load_model,
)
from lipsync_cli.dubbing import picture_dubber
from lipsync_cli.dubbing.model import MODEL_SETTINGS
from lipsync_cli.media.probe import probe
from lipsync_cli.media.video import open_frames
from lipsync_cli.settings import DubSettings
from tests.helpers.grey_model import SOUND, grey_model, heads
from tests.helpers.paths import SAMPLES
from tests.helpers.threads import no_thread_left

FUNCTIONS = ("dub", "load_model", "dub_frames", "inspect", "evaluate")
QUICK = {"detect_every": 10, "encoder_preset": "ultrafast"}
SIGNATURES = {
    "dub": "video audio output *preset=None *model=None *start=None *end=None *overwrite=False *keep=False "
    "*options=None *on_progress=None **settings",
    "load_model": "name='lip-forcing-mini' *device='auto' *dtype='auto' *threads=0 *preset=None **options",
    "dub_frames": "frames audio *rate *sample_rate *model=None *preset=None *options=None **settings",
    "inspect": "video *faces=True *start=None *end=None *preset=None *on_progress=None **settings",
    "evaluate": "clip against=None *source=None *audio=None *original=None *face='largest' *trim=False "
    "*syncnet=None *stable_sync=None *weights=None *on_progress=None",
}
"""Parameters with their defaults; a star stands before those that go by name."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature_is_the_documented_one(name: str) -> None:
    def word(parameter: signatures.Parameter) -> str:
        stars = {parameter.KEYWORD_ONLY: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        return f"{stars}{parameter.name}{default}"

    parameters = signatures.signature(getattr(lipsync_cli, name)).parameters.values()
    assert " ".join(map(word, parameters)) == SIGNATURES[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_example_of_the_documentation_runs_as_it_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sample in ("speaker.mp4", "speech.wav"):
        shutil.copy(SAMPLES / sample, tmp_path)
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(lipsync_cli, name), name, globs={})
    assert len(example.examples) >= 3
    text: list[str] = []
    doctest.DocTestRunner().run(example, out=text.append)
    assert not text, "".join(text)


def test_everything_exported_is_there_and_said() -> None:
    assert sorted(lipsync_cli.__all__) == lipsync_cli.__all__
    for name in lipsync_cli.__all__:
        assert getattr(lipsync_cli, name) is not None
    assert set(lipsync_cli.__all__) <= set(dir(lipsync_cli))
    errors = [getattr(lipsync_cli, name) for name in lipsync_cli.__all__ if name.endswith(("Error", "Problem"))]
    assert len(errors) == 7 and all(issubclass(error, LipsyncError) for error in errors)
    with pytest.raises(AttributeError, match="no attribute 'dubb'"):
        lipsync_cli.dubb  # noqa: B018


def test_import_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); import lipsync_cli; took = time.perf_counter() - began\n"
        "from lipsync_cli import LipsyncError\n"
        "print(took, *{name.split('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    took, *modules = runs[0].stdout.split()
    assert min(float(run.stdout.split()[0]) for run in runs) < 0.1, took
    assert not set(modules) & {"torch", "av", "cv2", "numpy", "scipy", "librosa", "pydantic", "dlib", "typer", "rich"}


def test_process_is_left_as_it_was(tmp_path: Path) -> None:
    """Environment, thread counts, signal handlers, garbage collection, working folder; threads end with the model."""
    import torch

    def state() -> tuple:
        handlers = tuple(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE))
        return dict(os.environ), torch.get_num_threads(), handlers, gc.get_threshold(), gc.isenabled(), Path.cwd()

    before, others = torch.get_num_threads(), set(threading.enumerate())
    torch.set_num_threads(3)
    try:
        expected = state()
        model = load_model("lip-forcing-mini", device="cpu")
        assert state() == expected
        dub(SAMPLES / "speaker.mp4", SAMPLES / "speech.wav", tmp_path / "o.mp4", model=model, end="0.4", **QUICK)
        assert state() == expected
        del model
        gc.collect()
        started = [t for t in threading.enumerate() if t not in others and t.name.startswith("lipsync")]
        for thread in started:
            thread.join(timeout=10)
        assert not any(thread.is_alive() for thread in started)
    finally:
        torch.set_num_threads(before)


def test_calm_threads_sets_only_what_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    monkeypatch.delenv("OPENCV_FOR_THREADS_NUM", raising=False)
    lipsync_cli.calm_threads()
    assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["OPENCV_FOR_THREADS_NUM"]) == ("5", "1")


def test_dub_says_and_does_what_the_command_does(head_mp4, voice_wav, tmp_path, monkeypatch) -> None:
    """Whatever the environment and the user's file say."""
    monkeypatch.setenv("LIPSYNC_CRF", "40")
    monkeypatch.setenv("LIPSYNC_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").write_text('preset = "quality"\nseed = 9\n')
    done = []
    report = dub(
        str(head_mp4), str(voice_wav), str(tmp_path / "out.mkv"), model="passthrough", start=0.2, end="0:01.2",
        on_progress=lambda frames, total: done.append((frames, total)), **QUICK,
    )  # fmt: skip
    assert isinstance(report, DubReport)
    assert (report.frames_in, report.frames_out, report.passed_through) == (25, 25, {"unchanged": 25})
    assert (report.preset, report.settings["crf"], report.settings["seed"]) == ("balanced", 16, 0)
    assert (report.provenance["detect_every"], report.provenance["crf"]) == ("argument", "preset balanced")
    assert done[-1] == (25, 25)
    assert probe(tmp_path / "out.mkv").video.frames in (25, None)
    assert json.loads(json.dumps(report.to_json()))["schema"] == 1


def test_dub_to_standard_output_is_a_stream(head_mp4, voice_wav) -> None:
    code = (
        "from lipsync_cli import dub\n"
        f"dub({str(head_mp4)!r}, {str(voice_wav)!r}, '-', model='passthrough', device='cpu', end=0.4)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout[4:8] == b"ftyp"


def test_dub_raises_the_errors_of_the_command(head_mp4, voice_wav, tmp_path) -> None:
    there = tmp_path / "there.mp4"
    there.write_bytes(b"precious")
    for error, words, arguments in (
        (OutputError, "exists already", {"output": there}),
        (InputError, "does not exist", {"video": tmp_path / "none.mp4"}),
        (UsageError, "no setting called 'crff'", {"crff": 20}),
        (UsageError, "cannot be 99", {"crf": 99}),
        (UsageError, "no preset called 'best'", {"preset": "best"}),
        (UsageError, "'soon' is not a time", {"start": "soon"}),
        (UsageError, "nan is not a time", {"end": float("nan")}),
        (UsageError, "lies before", {"start": -1}),
        (UsageError, "does not lie after", {"start": 2, "end": 1}),
        (LipsyncError, "no model called", {"model": "nothing"}),
    ):
        values = {"video": head_mp4, "audio": voice_wav, "output": tmp_path / "o.mp4", "model": "passthrough"}
        with pytest.raises(error, match=words):
            dub(**{**values, **arguments})
    assert there.read_bytes() == b"precious"
    assert not list(tmp_path.glob("o.mp4*"))


def test_dub_takes_numbers_as_people_write_them(head_mp4, voice_wav, tmp_path) -> None:
    """0.1 is a tenth, at which a frame lies, and not the number just above it that the machine has."""
    report = dub(head_mp4, voice_wav, tmp_path / "o.mp4", model="passthrough", start=0.6, end=0.8, **QUICK)
    assert report.frames_out == 5


def test_loaded_model_dubs_again_without_loading(tmp_path, monkeypatch) -> None:
    model = load_model("lip-forcing-mini", device="cpu")
    monkeypatch.setattr("lipsync_cli.dubbing.model.load_engine_model", lambda *args, **kwargs: pytest.fail("loaded"))
    files = [tmp_path / "one.mkv", tmp_path / "two.mkv"]
    for file in files:
        report = dub(
            SAMPLES / "speaker.mp4", SAMPLES / "speech.wav", file, model=model, preset="realtime", end=0.6,
            codec="ffv1", reference_frames=5,
        )  # fmt: skip
        seconds = {entry.stage: entry.seconds for entry in report.stages}
        assert seconds["load"] == 0 < seconds["generate"]
        assert (report.model.name, report.frames_dubbed, report.settings["device"]) == ("lip-forcing-mini", 15, "cpu")
        assert report.provenance["dtype"] == "loaded model"
    decoded = []
    for file in files:
        with open_frames(probe(file), with_rgb=False) as frames:
            decoded.append([plane.tobytes() for frame in frames for plane in frame.planes])
    assert decoded[0] == decoded[1]


def test_loaded_model_takes_no_settings_of_another(head_mp4, voice_wav, tmp_path) -> None:
    assert set(DubSettings.model_fields) >= MODEL_SETTINGS
    model = load_model("passthrough", device="cpu")
    with pytest.raises(UsageError, match="dtype is decided when a model is loaded"):
        dub(head_mp4, voice_wav, tmp_path / "o.mp4", model=model, dtype="bfloat16")
    with pytest.raises(UsageError, match="crf does not concern how a model is loaded"):
        load_model("passthrough", crf=20)


def test_options_of_engines_are_theirs_and_no_others(head_mp4, voice_wav, tmp_path) -> None:
    assert load_model("lip-forcing-mini", device="cpu", crop_size=192).generator.spec.crop_size == 192
    arguments = (head_mp4, voice_wav, tmp_path / "o.mp4")
    with pytest.raises(UsageError, match="passthrough has no option 'crop_size'"):
        dub(*arguments, model="passthrough", options={"crop_size": 192})
    with pytest.raises(UsageError, match="crop_size is decided when a model is loaded"):
        dub(*arguments, model=load_model("passthrough", device="cpu"), options={"crop_size": 192})


def test_nothing_of_a_dub_outlives_it(head_mp4, voice_wav, tmp_path, monkeypatch) -> None:
    """Frames, trackers and segments go, and the model stays."""
    made: list[weakref.ref] = []

    class Watched(picture_dubber.Tracker):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            made.append(weakref.ref(self))

    monkeypatch.setattr(picture_dubber, "Tracker", Watched)
    model = grey_model()
    with no_thread_left():
        for _ in range(2):
            dub(head_mp4, voice_wav, tmp_path / "o.mp4", model=model, end=0.4, overwrite=True, **QUICK)
        list(dub_frames(heads(8), SOUND, rate=25, sample_rate=16_000, model=model))
    gc.collect()
    assert len(made) == 3 and all(ref() is None for ref in made)


@pytest.mark.slow
def test_memory_is_flat_over_twenty_dubs(tmp_path) -> None:
    """A dub's frames alone are 9 MiB, so fifteen dubs of which they stayed would add 140; allocators play with 20."""
    model, resident = load_model("lip-forcing-mini", device="cpu"), []
    for _ in range(20):
        dub(
            SAMPLES / "speaker.mp4", SAMPLES / "speech.wav", tmp_path / "o.mp4", model=model, end=0.6,
            reference_frames=5, overwrite=True, **QUICK,
        )  # fmt: skip
        gc.collect()
        resident.append(rss_mb())
    assert median(resident[15:]) - median(resident[3:8]) < 40, resident


def rss_mb() -> float:
    """Memory that this process holds now, in MiB."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_inspect_finds_what_the_command_shows(head_mp4, voice_wav) -> None:
    from typer.testing import CliRunner

    from lipsync_cli.cli.app import app

    found = inspect(head_mp4, end=0.4)
    shown = CliRunner().invoke(app, ["inspect", str(head_mp4), "--end", "0.4", "--json"])
    assert found.to_json() == json.loads(shown.stdout)
    (track,) = found.faces.tracks
    assert (found.media.video.rate, track.frames, found.faces.number(track)) == (Fraction(25), 10, 0)
    assert inspect(head_mp4, faces=False).faces is inspect(voice_wav).faces is None
