"""What each stage of a run has cost, read from its logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from lipsync_cli.core.machine import cpu_name


@dataclass(frozen=True, slots=True)
class StageTime:
    """A stage's steps and wall time in minutes, of every start of it together."""

    name: str
    steps: int
    minutes: float


def stage_times(runs: Path) -> list[StageTime]:
    """Of every ``metrics.jsonl`` below ``runs``, in the order in which the stages ended."""
    logs = sorted(runs.glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime)
    return [_read(log) for log in logs]


def _read(log: Path) -> StageTime:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    seconds, last = 0.0, 0.0
    for row in rows:
        # A stage that was stopped and goes on counts its seconds from zero again.
        seconds, last = seconds + (row["s"] - last if row["s"] >= last else row["s"]), row["s"]
    return StageTime(log.parent.name, max((row["step"] + 1 for row in rows), default=0), seconds / 60)


def describe(times: list[StageTime]) -> str:
    """The stages, their sum and the machine, a line each."""
    lines = [f"{time.name:16} {time.steps:6} steps {time.minutes:7.1f} min" for time in times]
    total = f"{'together':16} {'':6}       {sum(time.minutes for time in times):7.1f} min"
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()
    return "\n".join([*lines, total, f"on {where}, {torch.get_num_threads()} threads"])
