"""``lipsync train prepare``: from a folder of talking clips to what the other commands train on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, stderr
from lipsync_cli.cli.train.options import SCHEMA, Prepared
from lipsync_cli.core.errors import UsageError

Data = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with clips of talking people.")]
Seconds = Annotated[float, typer.Option("--seconds-per-speaker", min=1, help="Use at most so much of one speaker.")]
CropSize = Annotated[int, typer.Option("--crop-size", min=64, max=512, help="Side of the crops in pixels: 192, 256.")]
Megabytes = Annotated[
    float | None,
    typer.Option("--max-megabytes", min=0.1, help="Choose clips that fit in so much, all speakers alike."),
]
LimitsFile = Annotated[Path | None, typer.Option("--limits", metavar="FILE", help="Thresholds of the filters, TOML.")]
Workers = Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that read clips.")]


def prepare(
    data: Data,
    prepared: Prepared = Path("runs/prepared"),
    crop_size: CropSize = 192,
    max_megabytes: Megabytes = None,
    seconds_per_speaker: Seconds = 100.0,
    limits: LimitsFile = None,
    workers: Workers = 2,
    as_json: o.Json = False,
) -> None:
    """Cut, align, check and measure talking clips for training: every video of DIR, or those DIR/clips.csv lists.

    Columns, all but the first optional: path, split, speaker, licence, duration_s, sync_lag_frames. Resumes where it
    stopped; other limits or another size are then a matter of seconds. See report.png.
    """
    from lipsync_cli.cli.progress import progress
    from lipsync_cli.training.dataset.limits import load_limits
    from lipsync_cli.training.dataset.prepare import PrepareOptions
    from lipsync_cli.training.dataset.prepare import prepare as run

    if crop_size % 16:
        raise UsageError(f"The crop size must be a multiple of 16, got {crop_size}.", hint="Use 192 or 256.")
    options = PrepareOptions(crop_size, seconds_per_speaker, max_megabytes, workers, load_limits(limits))
    with progress(None, None, doing="Preparing") as on_progress:
        summary = run(data, prepared, options, on_progress)
    if as_json:
        emit_json({"schema": SCHEMA, "prepared": str(prepared), **summary})
    else:
        _show(summary, prepared)


def _show(summary: Mapping[str, Any], prepared: Path) -> None:
    lines = [f"left out {path}: {note}" for path, note in summary["sources_without_clips"].items()]
    lines += [f"left out {count} clips: {reason}" for reason, count in summary["clips_left_out"].items()]
    chosen = summary["chosen"]
    lines.append(
        f"{chosen['clips']} clips of {chosen['speakers']} speakers, {chosen['minutes']:.1f} min, "
        f"{chosen['megabytes']:.1f} MB in {prepared}; see {prepared / 'report.png'}"
    )
    for line in lines:
        stderr().print(line, highlight=False)
