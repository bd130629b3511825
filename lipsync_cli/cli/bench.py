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
from lipsync_cli.core.errors import UsageError
from lipsync_cli.settings import DubSettings, resolve_settings

if TYPE_CHECKING:
    from lipsync_cli.benchmark.measure import BenchmarkPlan, Case

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
Random = Annotated[
    bool, o.flag("--random-weights", help="A large model without its files: speed does not depend on their values.")
]
Peak = Annotated[
    float | None, typer.Option("--tflops", min=0.001, help="The device's peak, for the share of it that is used.")
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE.json", help="Where the figures are kept.")]


@app.command()
def bench(
    video: Video = None,
    audio: Audio = None,
    lengths: Lengths = "4,8",
    heights: Heights = "480,720",
    rounds: Rounds = 3,
    random_weights: Random = False,
    tflops: Peak = None,
    out: Out = Path("out/bench.json"),
    preset: o.PresetName = None,
    model: o.Model = None,
    device: o.Device = None,
    threads: o.Threads = None,
    sets: o.Sets = None,
    options: o.EngineOption = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Measure how fast and with how much memory this machine dubs.

    Lengths are measured at the first height, heights at the first length, in turns, in fresh processes. Compare
    ratios within one run rather than seconds between runs. A long length beside a short one shows whether memory
    grows. A live first frame is an encoded one at the end of a pipe.
    """
    given = locals()
    overrides = {name: given[name] for name in DubSettings.model_fields if name in given}
    resolved = resolve_settings(preset, overrides, sets=o.parse_sets(sets), options=o.parse_options(options))
    for path in filter(None, (video, audio)):
        check_input(path, "a talking clip" if path == video else "a file with sound")
    chosen = [_numbers("--lengths", lengths), _numbers("--heights", heights)]
    _check_numbers(*chosen)
    from lipsync_cli.benchmark.measure import BenchmarkPlan

    make_folder(out.parent)
    plan = BenchmarkPlan(_cases(*chosen), rounds, random_weights, tflops, resolved.options)
    told = _run(video, audio, resolved.settings, plan, quiet)
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


def _cases(lengths: list[Fraction], heights: list[Fraction]) -> tuple[Case, ...]:
    from lipsync_cli.benchmark.measure import Case

    at_first = [Case(length, int(heights[0])) for length in lengths]
    return tuple(dict.fromkeys([*at_first, *(Case(lengths[0], int(height)) for height in heights)]))


def _run(
    video: Path | None, audio: Path | None, settings: DubSettings, plan: BenchmarkPlan, quiet: bool
) -> dict[str, Any]:
    from lipsync_cli.benchmark.measure import run_bench

    def on_round(number: int, case: Case) -> None:
        if not quiet:
            stderr().print(f"round {number + 1} of {plan.rounds}: {case.name}", highlight=False)

    with tempfile.TemporaryDirectory(prefix="lipsync-bench-") as name:
        folder = Path(name)
        if video is None:
            video, drawn_sound = _drawn(folder)
            audio = audio or drawn_sound
        return run_bench(video, audio or video, settings, plan, folder, on_round=on_round)


def _drawn(folder: Path) -> tuple[Path, Path]:
    """A drawn head and a voice-like tone, for a machine without any clip at hand."""
    from lipsync_cli.media.resize_clip import encode_pictures
    from lipsync_cli.synthetic import draw_head, write_voice

    video, sound = folder / "head.mp4", folder / "voice.wav"
    encode_pictures(video, (draw_head(openness=0.01 * step) for step in range(9)), Fraction(25))
    write_voice(sound, 2.0)
    return video, sound


def _show(told: dict[str, Any]) -> None:
    cases = told["cases"]
    head = (
        "case", "size", "cold", "warm", "fps", "generator fps", "first frame", "warm", "live", "RSS", "VRAM", "cost",
    )  # fmt: skip
    emit_table(head, [_row(case) for case in cases])
    for title, key in (("seconds of work per second, warm", "stages"), ("inside the generator", "inside")):
        names = list(dict.fromkeys(stage for case in cases for stage in case[key]))
        if names:
            emit_lines([""])
            emit_table(
                (title, *(case["case"] for case in cases)),
                [(name, *(_share(case[key], name) for case in cases)) for name in names],
            )
    for case in cases:
        if case["tflops"]:
            of_peak = "" if case["mfu"] is None else f", {100 * case['mfu']:.1f} % of {told['peak_tflops']:g}"
            emit_lines([f"{case['case']}: {case['tflops']:.3g} TFLOP/s end to end{of_peak}"])


def _row(case: dict[str, Any]) -> tuple[str, ...]:
    return (
        case["case"], f"{case['width']}×{case['height']}", f"{case['realtime_factor']:.3f}×",
        f"{case['warm_realtime_factor']:.3f}×", f"{case['fps']:.2f}", _known(case["generator_fps"], "{:.2f}"),
        f"{case['cold_first_frame_s']:.2f} s", f"{case['warm_first_frame_s']:.2f} s",
        _known(case["live_first_frame_s"], "{:.2f} s"), _known(case["peak_rss_mb"], "{:.0f} MiB"),
        _known(case["peak_vram_mb"], "{:.0f} MiB"), f"{case['cost_ratio']:.2f}",
    )  # fmt: skip


def _known(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _share(stages: dict[str, float], name: str) -> str:
    return f"{stages.get(name, 0):.3f}  {100 * stages.get(name, 0) / (sum(stages.values()) or 1):3.0f} %"
