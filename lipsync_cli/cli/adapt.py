"""``lipsync adapt``: fit the embedded model to the very video that will be dubbed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, stderr
from lipsync_cli.cli.paths import check_folder, check_input
from lipsync_cli.cli.progress import progress
from lipsync_cli.settings import resolve_settings

if TYPE_CHECKING:
    from lipsync_cli.training.adapt.run import AdaptReport, AdaptRequest
    from lipsync_cli.training.adapt.trainer import HeldOutCheck

MINUTES = 3.0

app = typer.Typer(add_completion=False)

Video = Annotated[Path, typer.Argument(metavar="VIDEO", help="The video to be dubbed.", show_default=False)]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="FILE.safetensors", help="The adapter. Default: VIDEO's name with .adapter."
    ),
]
Overwrite = Annotated[
    bool, o.flag("-y", "--overwrite", help="Replace the adapter if it exists.", panel=o.OUTPUT_PANEL)
]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        min=0.01,
        metavar="N",
        help=f"Stop training after so many minutes. Default: {MINUTES:g}, or no limit with --steps.",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, metavar="N", help="Stop after so many steps: the same again on the same machine."),
]
Sheet = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png",
        help="Write held-out mouths: real, before and after.",
        rich_help_panel=o.REPORT_PANEL,
    ),
]


@app.command()
def adapt(
    video: Video,
    output: Output = None,
    start: o.Start = None,
    end: o.End = None,
    minutes: Minutes = None,
    steps: Steps = None,
    preset: o.PresetName = None,
    model: o.Model = None,
    face: o.FaceChoice = None,
    seed: o.Seed = None,
    device: o.Device = None,
    threads: o.Threads = None,
    detector: o.Detector = None,
    sets: o.Sets = None,
    overwrite: Overwrite = False,
    sheet: Sheet = None,
    as_json: o.Json = False,
    show_progress: o.ProgressChoice = None,
    quiet: o.Quiet = False,
) -> None:
    """Fit the embedded model to one video, for dub --adapter.

    Trains the last layers of the renderer on the video's own frames and judges them on frames held out.
    If those gain nothing, no adapter is written and the command fails with exit code 5.
    """
    overrides = {
        "model": model, "face": face, "seed": seed, "device": device, "threads": threads, "detector": detector,
    }  # fmt: skip
    settings = resolve_settings(preset, overrides, sets=o.parse_sets(sets)).settings
    check_input(video, "a video")
    if sheet is not None:
        check_folder(sheet)
    from lipsync_cli.training.adapt.run import AdaptRequest

    request = AdaptRequest(
        video=video,
        output=output or video.with_name(f"{video.stem}.adapter.safetensors"),
        settings=settings,
        start=o.parse_time(start),
        end=o.parse_time(end),
        minutes=MINUTES if minutes is None and steps is None else minutes,
        steps=steps,
        sheet=sheet,
        overwrite=overwrite,
    )
    report = _run(request, shown=False if quiet else show_progress)
    if not quiet:
        _show(report)
    if as_json:
        emit_json(report.to_json())


def _run(request: AdaptRequest, *, shown: bool | None) -> AdaptReport:
    """Adapt, with progress on stderr; ``shown`` None shows it as ``progress`` thinks fit."""
    from lipsync_cli.training.adapt.run import adapt_video

    with ExitStack() as reading:
        on_frame = reading.enter_context(progress(shown, None, doing="Reading"))

        def on_check(check: HeldOutCheck, seconds: float) -> None:
            reading.close()
            if shown is not False:
                _print_check(check, seconds)

        return adapt_video(request, on_frame=on_frame, on_check=on_check)


def _print_check(check: HeldOutCheck, seconds: float) -> None:
    figures = check.figures
    stderr().print(
        f"step {check.step}, {seconds:.0f} s: held-out error {figures.error:.4f}, "
        f"sharpness {figures.sharpness:.2f} of the real",
        highlight=False,
    )


def _show(report: AdaptReport) -> None:
    adaptation = report.adaptation
    before, after = adaptation.before, adaptation.after
    lines = [
        f"{report.request.output}: step {adaptation.step} of {adaptation.steps} in {report.seconds:.0f} s, "
        f"{report.frames} frames",
        f"Held-out error {before.error:.4f} before, {after.error:.4f} after; mouth sharpness {before.sharpness:.2f} "
        f"before, {after.sharpness:.2f} after (1 is the real one)",
    ]
    for line in lines:
        stderr().print(line, highlight=False, markup=False, soft_wrap=True)
