"""A plan holds everything parsed once, touches no device, and its dub opens every file as seldom as can be."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from lipsync_cli.core.errors import InputError, ModelError, OutputError, UsageError
from lipsync_cli.dubbing.model import ModelCache, load_model
from lipsync_cli.dubbing.pipeline import dub, explain
from lipsync_cli.dubbing.plan import plan
from lipsync_cli.dubbing.profiling import STAGES
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.settings import DubSettings, OptionLayers
from tests.helpers.synthetic import make_tone

QUICK = DubSettings(model="passthrough", detect_every=10, encoder_preset="ultrafast", length="video")


def request_for(video: Path, audio: Path, output: Path | None, **changes) -> DubRequest:
    settings = QUICK.model_copy(update=changes.pop("settings", {}))
    return DubRequest(video, audio, output, settings, **changes)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each file was opened by name."""
    counts: Counter[str] = Counter()
    really_open = av.open

    def spy(file, *args, **kwargs):
        if isinstance(file, str):
            counts[Path(file.removeprefix("file:")).name] += 1
        return really_open(file, *args, **kwargs)

    monkeypatch.setattr(av, "open", spy)
    yield counts


def test_plan_and_dub_open_each_input_twice_and_the_output_once(head_mp4, voice_wav, tmp_path, opened):
    """Once to probe and measure, once to decode; the output is looked at when it is there."""
    planned = plan(request_for(head_mp4, voice_wav, tmp_path / "out.mp4", end=Fraction(1)))
    assert opened == {head_mp4.name: 1, voice_wav.name: 1}
    dub(planned)
    assert opened == {head_mp4.name: 2, voice_wav.name: 2, "out.mp4": 1}


def test_plan_of_a_dub_that_keeps_tracks_needs_no_more(head_mp4, voice_wav, tmp_path, opened):
    dub(plan(request_for(head_mp4, voice_wav, tmp_path / "out.mp4", keep=True, end=Fraction(1, 2))))
    assert sum(opened.values()) == 5


def test_plan_of_a_bouncing_dub_reads_the_picture_once_more_for_each_turn(head_mp4, tmp_path, opened):
    make_tone(tmp_path / "long.wav", seconds=3)
    dub(plan(request_for(head_mp4, tmp_path / "long.wav", tmp_path / "out.mp4", settings={"length": "audio"})))
    assert (opened["long.wav"], opened["out.mp4"]) == (2, 1)
    assert opened[head_mp4.name] <= 4


def test_plan_measures_what_headers_only_estimate(head_mp4, voice_wav):
    planned = plan(request_for(head_mp4, voice_wav, None, settings={"length": "shortest"}))
    assert planned.stream.measured == planned.audio.audio[0].measured == 2
    assert planned.length.duration == 2
    part = plan(request_for(head_mp4, voice_wav, None, start=Fraction(1, 2), end=Fraction(5, 4)))
    assert part.length.duration == Fraction(3, 4)
    assert part.frames_expected == 19


def test_plan_holds_choices_parsed(head_mp4, voice_wav, tmp_path):
    chosen = {"face": "2", "read_every": 8, "lookahead_frames": 3, "silence": "keep", "seed": 7, "crf": 20}
    planned = plan(request_for(head_mp4, voice_wav, tmp_path / "o.mkv", settings=chosen))
    assert (planned.picture.face.kind, planned.picture.face.index) == ("index", 2)
    assert planned.picture.tracking.read_every == 4
    assert (planned.picture.segments.silence, planned.picture.segments.seed) == ("keep", 7)
    assert (planned.encoding.crf, planned.encoding.low_latency, planned.container.name) == (20, False, "mkv")
    assert (planned.target, planned.stream) == (tmp_path / "o.mkv", planned.video.video)
    live = plan(request_for(head_mp4, voice_wav, None))
    assert (live.target, live.container.name, live.encoding.low_latency) == ("-", "mp4", True)


def test_plan_refuses_what_cannot_work(head_mp4, voice_wav, tmp_path):
    there = tmp_path / "there.mp4"
    there.touch()
    for error, changes in (
        (UsageError, {"settings": {"face": "nobody"}}),
        (ModelError, {"settings": {"model": "nothing"}}),
        (UsageError, {"options": OptionLayers(given={"adapter": "some.safetensors"})}),
        (UsageError, {"container": "gif"}),
        (OutputError, {"output": there}),
        (InputError, {"video": voice_wav}),
        (InputError, {"audio": tmp_path / "none.wav"}),
    ):
        values = {"video": head_mp4, "audio": voice_wav, "output": tmp_path / "o.mp4", **changes}
        with pytest.raises(error):
            plan(request_for(**values))
    planned = plan(request_for(head_mp4, voice_wav, there), check_place=False)
    assert planned.container.name == "mp4"


def test_plan_imports_no_torch(head_mp4, voice_wav):
    """So the device costs nobody anything who only wants to know what would be done."""
    program = f"""
import sys
from pathlib import Path
from lipsync_cli.dubbing.plan import plan
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.settings import DubSettings, OptionLayers
plan(DubRequest(Path({str(head_mp4)!r}), Path({str(voice_wav)!r}), None, DubSettings()))
assert "torch" not in sys.modules, "torch was imported"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_explain_lists_the_stages_of_the_report(head_mp4, voice_wav, tmp_path):
    planned = plan(request_for(head_mp4, voice_wav, tmp_path / "out.mp4", end=Fraction(1, 2)))
    explanation, report = explain(planned), dub(planned)
    assert explanation.stages == tuple(entry.stage for entry in report.stages) == STAGES
    assert explanation.latency == report.latency


def test_dub_refuses_a_model_that_it_was_not_planned_with(head_mp4, voice_wav, tmp_path):
    planned = plan(request_for(head_mp4, voice_wav, tmp_path / "out.mp4"))
    other = plan(request_for(head_mp4, voice_wav, tmp_path / "out.mp4", settings={"model": "lip-forcing-mini"}))
    with pytest.raises(UsageError, match="planned with model lip-forcing-mini, and passthrough was loaded"):
        dub(other, load_model(planned.picture))
    assert not (tmp_path / "out.mp4").exists()


def test_model_cache_loads_only_what_is_not_loaded(head_mp4, voice_wav):
    cache = ModelCache()
    pictures = [
        plan(request_for(head_mp4, voice_wav, None, settings=settings)).picture
        for settings in ({}, {"face": "left", "crf": 30}, {"threads": 3}, {"threads": 3, "seed": 5})
    ]
    models = [cache.model_for(picture) for picture in pictures]
    assert models[0] is models[1] is not models[2]
    assert models[2] is models[3]


def test_dub_with_a_loaded_model_loads_nothing(head_mp4, voice_wav, tmp_path, monkeypatch):
    planned = plan(request_for(head_mp4, voice_wav, tmp_path / "out.mp4", end=Fraction(1, 2), overwrite=True))
    model = load_model(planned.picture)
    monkeypatch.setattr("lipsync_cli.dubbing.model.load_engine_model", lambda *args, **kwargs: pytest.fail("loaded"))
    for _ in range(2):
        report = dub(planned, model)
        assert {entry.stage: entry.seconds for entry in report.stages}["load"] == 0
