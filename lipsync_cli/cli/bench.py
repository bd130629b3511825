"""``lipsync bench``: speed, latency and memory of a dub on this machine."""

from __future__ import annotations

import json
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, emit_table, stderr
from lipsync_cli.cli.paths import check_input, make_folder, write_text
from lipsync_cli.errors import UsageError
from lipsync_cli.presets import DubSettings, resolve_settings

if TYPE_CHECKING:
    from lipsync_cli.bench.measure import Case

app = typer.Typer(add_completion=False)

Video = Annotated[
    Path | None, typer.Argument(metavar="[VIDEO]", help="Talking clip. Default: a drawn head.", show_default=False)
]
Audio = Annotated[
    Path | None, typer.Argument(metavar="[AUDIO]", help="Its dub. Default: VIDEO's own sound.", show_default=False)
]
Lengths = Annotated[
    str, typer.Option(metavar="S,S,…", help="Seconds of video; the first is the measure of the rest.")
]
Heights = Annotated[str, typer.Option(metavar="PX,PX,…", help="Heights of the picture.")]
Rounds = Annotated[int, typer.Option(min=1, max=100, help="How often to measure each case.")]
Out = Annotated[Path, typer.Option("--out", metavar="FILE.json", help="Where the figures are kept.")]


@app.command()
def bench(
    video: Video = None,
    audio: Audio = None,
    lengths: Lengths = "4,8",
    heights: Heights = "480,720",
    rounds: Rounds = 3,
    out: Out = Path("out/bench.json"),
    preset: o.PresetName = None,
    model: o.Model = None,
    device: o.Device = None,
    threads: o.Threads = None,
    sets: o.Sets = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Measure how fast and with how much memory this machine dubs.

    Lengths are measured at the first height, heights at the first length, in turns, in fresh processes. Compare
    ratios within one run rather than seconds between runs.
    """
    given = locals()
    overrides = {name: given[name] for name in DubSettings.model_fields if name in given}
    settings, _ = resolve_settings(preset, overrides, sets=o.parse_sets(sets or []))
    for path in filter(None, (video, audio)):
        check_input(path, "a talking clip" if path == video else "a file with sound")
    chosen = [_numbers("--lengths", lengths), _numbers("--heights", heights)]
    _check_numbers(*chosen)
    make_folder(out.parent)
    told = _run(video, audio, _cases(*chosen), settings, rounds, quiet)
    write_text(out, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    if as_json:
        emit_json(told)
    else:
        _show(told)


def _numbers(option: str, text: str) -> list[Fraction]:
    try:
        return [Fraction(part.strip()) for part in text.split(",")]
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{option} {text!r} is no list of numbers.", hint=f"Write {option} 4,8.") from error


def _check_numbers(lengths: list[Fraction], heights: list[Fraction]) -> None:
    for length in lengths:
        if not 1 <= length <= 3600:
            raise UsageError(f"--lengths {float(length):g} is outside 1 … 3600 seconds.")
    for height in heights:
        if height.denominator != 1 or height % 2 or not 120 <= height <= 4320:
            raise UsageError(f"--heights {float(height):g} is no even number of pixels from 120 to 4320.")


def _cases(lengths: list[Fraction], heights: list[Fraction]) -> list[Case]:
    from lipsync_cli.bench.measure import Case

    at_first = [Case(length, int(heights[0])) for length in lengths]
    return list(dict.fromkeys([*at_first, *(Case(lengths[0], int(height)) for height in heights)]))


def _run(
    video: Path | None, audio: Path | None, cases: list[Case], settings: DubSettings, rounds: int, quiet: bool
) -> dict[str, Any]:
    from lipsync_cli.bench.measure import run_bench

    def on_round(number: int, case: Case) -> None:
        if not quiet:
            stderr().print(f"round {number + 1} of {rounds}: {case.name}", highlight=False)

    with tempfile.TemporaryDirectory(prefix="lipsync-bench-") as name:
        folder = Path(name)
        if video is None:
            video, drawn_sound = _drawn(folder)
            audio = audio or drawn_sound
        return run_bench(video, audio or video, cases, settings, folder, rounds=rounds, on_round=on_round)


def _drawn(folder: Path) -> tuple[Path, Path]:
    """A drawn head and a voice-like tone, for a machine without any clip at hand."""
    from lipsync_cli.media.variant import encode_pictures
    from lipsync_cli.synthetic import draw_head, write_voice

    video, sound = folder / "head.mp4", folder / "voice.wav"
    encode_pictures(video, (draw_head(openness=0.01 * step) for step in range(9)), Fraction(25))
    write_voice(sound, 2.0)
    return video, sound


def _show(told: dict[str, Any]) -> None:
    head = ("case", "size", "realtime", "warm", "first frame", "warm", "peak RSS", "cost ratio")
    rows = [
        (
            case["case"], f"{case['width']}×{case['height']}", f"{case['realtime_factor']:.3f}×",
            f"{case['warm_realtime_factor']:.3f}×", f"{case['cold_first_frame_s']:.2f} s",
            f"{case['warm_first_frame_s']:.2f} s",
            "–" if case["peak_rss_mb"] is None else f"{case['peak_rss_mb']:.0f} MiB", f"{case['cost_ratio']:.2f}",
        )
        for case in told["cases"]
    ]  # fmt: skip
    emit_table(head, rows)
    stages = {case["case"]: case["stages"] for case in told["cases"]}
    names = list(dict.fromkeys(stage for case in stages.values() for stage in case))
    emit_lines([""])
    emit_table(
        ("seconds of work per second", *stages),
        [(stage, *(f"{case.get(stage, 0):.3f}" for case in stages.values())) for stage in names],
    )
