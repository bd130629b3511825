"""One measurement in a process of its own: ``python -m lipsync_cli.bench.worker`` reads a job and prints what it
cost.

The first dub starts from nothing, as a user's does; the following ones find everything loaded by Python already.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from lipsync_cli.errors import LipsyncError


def main() -> None:
    """Read a JSON job from stdin: video, audio, output, settings, ``spawned`` (epoch seconds), ``dubs``."""
    job = json.load(sys.stdin)
    try:
        told = _run(job)
    except LipsyncError as error:
        told = {"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint}}
    sys.stdout.write(json.dumps(told))


def _run(job: dict[str, Any]) -> dict[str, Any]:
    """Dub as often as the job says."""
    from lipsync_cli import pipeline
    from lipsync_cli.presets import DubSettings
    from lipsync_cli.request import DubRequest

    request = DubRequest(
        Path(job["video"]), Path(job["audio"]), Path(job["output"]), DubSettings(**job["settings"]), overwrite=True
    )
    runs = [measure(pipeline, request) for _ in range(job["dubs"])]
    cold = runs[0].pop("first_frame_epoch") - job["spawned"]
    for run in runs[1:]:
        run.pop("first_frame_epoch")
    return {"cold_first_frame_s": cold, "runs": runs, "peak_vram_mb": peak_vram_mb()}


def measure(pipeline: Any, request: Any) -> dict[str, Any]:
    """One dub: its report's figures, and when its first frame went to the encoder."""
    first = 0.0

    def on_progress(done: int, total: int | None) -> None:
        nonlocal first
        first = first or time.time()

    report = pipeline.dub(request, on_progress)
    return {
        "first_frame_epoch": first,
        "first_frame_s": report.first_frame_s,
        "wall_s": report.wall_s,
        "realtime_factor": report.realtime_factor,
        "frames": report.frames_out,
        "dubbed": report.frames_dubbed,
        "peak_rss_mb": report.peak_rss_mb,
        "device": report.device,
        "dtype": report.dtype,
        "threads": report.threads,
        "stages": {entry.stage: entry.seconds for entry in report.stages},
    }


def peak_vram_mb() -> float | None:
    """The most GPU memory torch has held, in MiB; None without CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return float(torch.cuda.max_memory_allocated() / 2**20)


if __name__ == "__main__":
    main()
