"""How fast this machine dubs: cases run interleaved, each several times in fresh processes, judged by medians.

A machine that is busy with something else slows all cases of a round alike, so ratios within one run can be trusted
further than seconds.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipsync_cli import __version__
from lipsync_cli.core import errors
from lipsync_cli.core.errors import LipsyncError
from lipsync_cli.core.machine import cpu_name
from lipsync_cli.hub import load_card
from lipsync_cli.media.resize_clip import write_picture, write_sound
from lipsync_cli.settings import DubSettings, OptionLayers

SCHEMA = 2


@dataclass(frozen=True, slots=True)
class Case:
    """A length and a size to measure. The first case of a run is what others are compared with."""

    seconds: Fraction
    height: int

    @property
    def name(self) -> str:
        """``4 s 480p``."""
        return f"{float(self.seconds):g} s {self.height}p"


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """Medians over rounds. ``realtime_factor`` is seconds of video per second, end to end, everything loaded anew.

    Warm figures are from a process that has dubbed before and holds the networks: ``warm_realtime_factor``, ``fps``
    (frames per second, end to end), ``generator_fps`` (of the generator alone, while it works) and ``stages``.
    ``cold_first_frame_s`` counts from the process's start, ``warm_first_frame_s`` from the request, both to the
    encoder; ``live_first_frame_s`` from opening the inputs to the first encoded frame out of a pipe, warm.
    ``stages`` are seconds of work per second of video, which may overlap; ``inside`` are those within the generator,
    one after another. ``tflops`` are counted operations over warm time, in 10¹² a second, ``mfu`` that over the peak.
    Memory is the most of all rounds. ``cost_ratio`` is wall time per second of video over that of the first case, the
    median of the rounds' ratios.
    """

    case: str
    seconds: float
    width: int
    height: int
    frames: int
    dubbed: int
    rounds: int
    realtime_factor: float
    warm_realtime_factor: float
    fps: float
    generator_fps: float | None
    cold_first_frame_s: float
    warm_first_frame_s: float
    live_first_frame_s: float | None
    peak_rss_mb: float | None
    peak_vram_mb: float | None
    cost_ratio: float
    stages: dict[str, float]
    inside: dict[str, float]
    tflops: float | None
    mfu: float | None


@dataclass(frozen=True, slots=True)
class _Prepared:
    case: Case
    width: int
    video: Path
    audio: Path


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """What to measure: each of ``cases`` in each of ``rounds``. ``peak_tflops`` is what the device could do."""

    cases: tuple[Case, ...]
    rounds: int
    random_weights: bool = False
    peak_tflops: float | None = None
    options: OptionLayers = field(default_factory=OptionLayers)


def run_bench(
    video: Path,
    audio: Path,
    settings: DubSettings,
    plan: BenchmarkPlan,
    folder: Path,
    *,
    on_round: Callable[[int, Case], None] = lambda number, case: None,
) -> dict[str, Any]:
    """Measure all cases of a round one after the other; the result as JSON can hold it. Raises what a dub raises."""
    prepared: dict[Case, _Prepared] = {}
    told: dict[Case, list[dict[str, Any]]] = {case: [] for case in plan.cases}
    for number in range(plan.rounds):
        for case in plan.cases:
            on_round(number, case)
            if case not in prepared:
                prepared[case] = _prepare(case, video, audio, folder)
            told[case].append(_measure(prepared[case], settings, folder, plan=plan))
    base = plan.cases[0]
    figures = [_figures(prepared[case], told[case], told[base], base, plan.peak_tflops) for case in plan.cases]
    return {
        "schema": SCHEMA,
        "tool": f"lipsync {__version__}",
        "machine": _machine(),
        "settings": settings.model_dump(mode="json"),
        "random_weights": plan.random_weights,
        "peak_tflops": plan.peak_tflops,
        "rounds": plan.rounds,
        "cases": [asdict(case) for case in figures],
        "raw": {case.name: runs for case, runs in told.items()},
    }


def _prepare(case: Case, video: Path, audio: Path, folder: Path) -> _Prepared:
    stem = case.name.replace(" ", "-")
    picture, sound = folder / f"{stem}.mp4", folder / f"{stem}.wav"
    width, _ = write_picture(video, picture, seconds=case.seconds, height=case.height)
    write_sound(audio, sound, seconds=case.seconds)
    return _Prepared(case, width, picture, sound)


def _options(settings: DubSettings, plan: BenchmarkPlan) -> dict[str, str]:
    values, _ = plan.options.for_kind(load_card(settings.model).kind)
    return {name: str(value) for name, value in values.items()}


def _measure(item: _Prepared, settings: DubSettings, folder: Path, *, plan: BenchmarkPlan) -> dict[str, Any]:
    job = {
        "video": str(item.video),
        "audio": str(item.audio),
        "output": str(folder / "dub.mp4"),
        "settings": settings.model_dump(mode="json"),
        "options": _options(settings, plan),
        "random_weights": plan.random_weights,
        "spawned": time.time(),
    }
    command = [sys.executable, "-m", "lipsync_cli.benchmark.worker"]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"the measuring process ended with {done.returncode}: {last}")
    told: dict[str, Any] = json.loads(done.stdout)
    if "error" in told:
        kind: type[LipsyncError] = getattr(errors, told["error"]["kind"])
        raise kind(told["error"]["message"], hint=told["error"]["hint"])
    return told


def _figures(
    item: _Prepared,
    runs: list[dict[str, Any]],
    base: list[dict[str, Any]],
    base_case: Case,
    peak_tflops: float | None = None,
) -> CaseFigures:
    cold, warm = [run["runs"][0] for run in runs], [run["runs"][-1] for run in runs]
    seconds = float(item.case.seconds)

    def per_second(run: dict[str, Any], length: float) -> float:
        return float(run["runs"][0]["wall_s"]) / length

    ratios = [
        per_second(run, seconds) / per_second(first, float(base_case.seconds))
        for run, first in zip(runs, base, strict=True)
    ]
    tflops = _known(run.get("flops_per_frame", 0) * last["dubbed"] / last["wall_s"] / 1e12
                    for run, last in zip(runs, warm, strict=True))  # fmt: skip
    return CaseFigures(
        case=item.case.name,
        seconds=seconds,
        width=item.width,
        height=item.case.height,
        frames=cold[0]["frames"],
        dubbed=cold[0]["dubbed"],
        rounds=len(runs),
        realtime_factor=_median(run["realtime_factor"] for run in cold),
        warm_realtime_factor=_median(run["realtime_factor"] for run in warm),
        fps=_median(run["frames"] / run["wall_s"] for run in warm),
        generator_fps=_known(run["dubbed"] / (run["stages"].get("generate") or float("inf")) for run in warm),
        cold_first_frame_s=_median(run["cold_first_frame_s"] for run in runs),
        warm_first_frame_s=_median(run["first_frame_s"] - run["stages"].get("load", 0.0) for run in warm),
        live_first_frame_s=_known(run.get("live_first_frame_s") or 0.0 for run in runs),
        peak_rss_mb=_most(run["peak_rss_mb"] for run in cold),
        peak_vram_mb=_most(run["peak_vram_mb"] for run in runs),
        cost_ratio=_median(ratios),
        stages=_by_stage([run["stages"] for run in warm], seconds),
        inside=_by_stage([run.get("inside", {}) for run in runs], seconds),
        tflops=tflops,
        mfu=tflops / peak_tflops if tflops and peak_tflops else None,
    )


def _by_stage(runs: list[dict[str, float]], seconds: float) -> dict[str, float]:
    """Medians of a stage's seconds, for each second of video."""
    return {name: _median(run.get(name, 0.0) / seconds for run in runs) for name in runs[0]}


def _known(values: Iterable[float]) -> float | None:
    """The median, None where it is nothing because nothing was measured."""
    return _median(values) or None


def _median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def _most(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _machine() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
