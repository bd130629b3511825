"""``lipsync dub``: gather the request, run it, tell what happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, print_table, stderr
from lipsync_cli.cli.dub.explain import show_plan
from lipsync_cli.cli.paths import check_folder, check_input, resolve_output
from lipsync_cli.cli.progress import progress
from lipsync_cli.core.errors import OutputError, UsageError
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.settings import resolve_settings

if TYPE_CHECKING:
    from lipsync_cli.dubbing.plan import DubPlan
    from lipsync_cli.dubbing.report import DubReport

app = typer.Typer(add_completion=False)


@app.command()
def dub(
    video: o.Video,
    audio: o.Audio,
    output: o.Output = None,
    preset: o.PresetName = None,
    model: o.Model = None,
    adapter: o.AdapterFile = None,
    face: o.FaceChoice = None,
    silence: o.Silence = None,
    length: o.Length = None,
    seed: o.Seed = None,
    device: o.Device = None,
    threads: o.Threads = None,
    parity: o.Parity = None,
    detector: o.Detector = None,
    codec: o.Codec = None,
    crf: o.Crf = None,
    encoder_preset: o.EncoderPreset = None,
    sets: o.Sets = None,
    options: o.EngineOption = None,
    start: o.Start = None,
    end: o.End = None,
    container: o.Container = None,
    keep: o.Keep = False,
    overwrite: o.Overwrite = False,
    report: o.ReportFile = None,
    sheet: o.Sheet = None,
    explain: o.Explain = False,
    as_json: o.Json = False,
    show_progress: o.ProgressChoice = None,
    quiet: o.Quiet = False,
) -> None:
    """Dub a video: the same picture, speaking another audio track.

    The result has the frames and times of VIDEO and the sound of AUDIO.
    Frames without a face that can be dubbed pass through untouched.
    """
    resolved = resolve_settings(
        preset,
        {
            "model": model,
            "face": face,
            "silence": silence,
            "length": length,
            "seed": seed,
            "device": device,
            "threads": threads,
            "detector": detector,
            "codec": codec,
            "crf": crf,
            "encoder_preset": encoder_preset,
        },
        sets=o.parse_sets(sets),
        options=o.parse_options(options, adapter=adapter, parity=parity),
    )
    check_input(video, "a video or a picture")
    check_input(audio, "a file with sound")
    request = DubRequest(
        video=video,
        audio=audio,
        output=resolve_output(video, output),
        settings=resolved.settings,
        preset=resolved.preset,
        provenance=resolved.provenance,
        options=resolved.options,
        overwrite=overwrite,
        keep=keep,
        container=container,
        start=o.parse_time(start),
        end=o.parse_time(end),
        sheet=sheet,
    )
    if explain:
        show_plan(_plan(request, check_place=False), as_json=as_json)
        return
    if as_json and request.output is None:
        raise UsageError("-o - and --json both want stdout.", hint="Write the report with --report FILE.")
    for path in filter(None, (report, sheet)):
        check_folder(path)
    result = _run(_plan(request), False if quiet else show_progress)
    if report is not None:
        _write_report(result, report)
    if not quiet:
        _show(result)
    if as_json:
        emit_json(result.to_json())


def _plan(request: DubRequest, *, check_place: bool = True) -> DubPlan:
    from lipsync_cli.dubbing.plan import plan

    return plan(request, check_place=check_place)


def _run(plan: DubPlan, show_progress: bool | None) -> DubReport:
    from lipsync_cli.dubbing import pipeline

    with progress(show_progress, float(plan.stream.rate)) as on_progress:
        return pipeline.dub(plan, on_progress=on_progress)


def _write_report(report: DubReport, path: Path) -> None:
    text = json.dumps(report.to_json(), indent=2, ensure_ascii=False, default=str) + "\n"
    try:
        path.write_bytes(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise OutputError(f"The report {path} cannot be written: {error.strerror}.") from error


def _show(report: DubReport) -> None:
    from lipsync_cli.dubbing.report import format_stage_table

    if report.stages:
        print_table("", ("stage", "time", "share", "speed"), format_stage_table(report))
    for line in report.summary():
        stderr().print(line, highlight=False, markup=False, soft_wrap=True)
