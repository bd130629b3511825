"""``lipsync bench`` measures real dubs, and says what is wrong with what it is given."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from lipsync_cli.benchmark.measure import Case, _figures, _Prepared
from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.media.resize_clip import write_picture, write_sound
from tests.cli.test_end_to_end import in_this_process


def test_a_short_bench_with_a_drawn_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--model", "passthrough", "--lengths", "1", "--heights", "240", "--rounds", "1", "--json"]
    done = in_this_process("bench", *options, "--preset", "realtime")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "out" / "bench.json").read_text())
    (case,) = told["cases"]
    assert (case["case"], case["frames"], case["dubbed"], case["width"]) == ("1 s 240p", 25, 0, 320)
    assert case["realtime_factor"] > 0 and case["cold_first_frame_s"] > case["warm_first_frame_s"] > 0
    assert case["cost_ratio"] == 1
    assert {"decode", "track", "generate", "composite", "encode"} <= set(case["stages"])
    # An encoded frame comes out of the pipe after its raw one went in, and long before a second has been dubbed.
    assert case["live_first_frame_s"] > 0 and case["fps"] > 0
    assert (case["inside"], case["tflops"]) == ({}, None)
    assert len(told["raw"]["1 s 240p"][0]["runs"]) == 2


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--lengths", "four"], 2, "no list of numbers"),
        (["--lengths", "0"], 2, "outside 1"),
        (["--heights", "241"], 2, "even number"),
        (["missing.mp4"], 3, "missing.mp4"),
        (["--model", "nothing"], 5, "nothing"),
        (["--random-weights", "--lengths", "1", "--heights", "120", "--rounds", "1"], 2, "comes with its weights"),
    ],
)
def test_bad_input_is_one_sentence_and_a_code(args: list[str], code: int, words: str, tmp_path: Path) -> None:
    done = in_this_process("bench", *args, "--out", tmp_path / "bench.json")
    assert done.exit_code == code, done.stderr
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "bench.json").exists()


def run(wall: float, first: float) -> dict:
    one = {
        "wall_s": wall, "realtime_factor": 2 / wall, "first_frame_s": first, "frames": 50, "dubbed": 50,
        "peak_rss_mb": 100 * wall, "stages": {"load": 0.5, "generate": wall / 2},
    }  # fmt: skip
    return {
        "cold_first_frame_s": first + 1, "runs": [one, one], "peak_vram_mb": None, "live_first_frame_s": first / 2,
        "flops_per_frame": 3e12, "inside": {"transformer": wall / 4},
    }  # fmt: skip


def test_figures_are_medians_and_ratios_within_a_round() -> None:
    short, long = Case(Fraction(2), 480), Case(Fraction(4), 480)
    base, more = [run(2, 1), run(4, 2), run(20, 3)], [run(4, 1), run(12, 2), run(40, 3)]
    figures = _figures(_Prepared(long, 640, Path(), Path()), more, base, short, peak_tflops=50)
    # Per second of video 1, 1.5 and 1 times the cost of the same round's short case; a slow round does not count.
    assert figures.cost_ratio == 1.0
    assert figures.realtime_factor == pytest.approx(2 / 12)
    assert (figures.cold_first_frame_s, figures.warm_first_frame_s) == (3, 1.5)
    assert figures.peak_rss_mb == 4000 and figures.peak_vram_mb is None
    assert figures.stages == {"load": 0.125, "generate": 1.5}
    # 50 frames of 3 TFLOP in 12 s; while the generator works it makes them in half that time.
    assert (figures.tflops, figures.mfu) == (pytest.approx(12.5), pytest.approx(0.25))
    assert (figures.fps, figures.generator_fps) == (pytest.approx(50 / 12), pytest.approx(50 / 6))
    assert (figures.live_first_frame_s, figures.inside) == (1, {"transformer": 0.75})


def test_what_was_not_measured_is_not_a_number() -> None:
    bare = {key: value for key, value in run(2, 1).items() if key not in ("flops_per_frame", "inside")}
    figures = _figures(_Prepared(Case(Fraction(2), 480), 640, Path(), Path()), [bare], [bare], Case(Fraction(2), 480))
    assert (figures.tflops, figures.mfu, figures.inside) == (None, None, {})


def test_variants_have_the_length_and_size_asked_for(head_mp4: Path, voice_wav: Path, tmp_path: Path) -> None:
    width, frames = write_picture(head_mp4, tmp_path / "v.mp4", seconds=Fraction(5, 2), height=120)
    info = require_video(probe(tmp_path / "v.mp4"))
    assert (width, frames) == (160, 63) == (info.width, info.frames)
    assert info.height == 120
    write_sound(voice_wav, tmp_path / "s.wav", seconds=Fraction(5))
    assert probe(tmp_path / "s.wav").duration == 5
