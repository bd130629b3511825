"""What each stage of a run has cost, read from its logs."""

from __future__ import annotations

import json
from pathlib import Path

from lipsync_cli.training.common.wall_times import StageTime, stage_times


def test_stage_times_add_up_the_starts_of_a_resumed_stage(tmp_path: Path) -> None:
    log = tmp_path / "teacher" / "metrics.jsonl"
    log.parent.mkdir()
    rows = [(0, 1.0), (24, 31.0), (49, 60.0), (24, 30.0), (49, 90.0)]
    log.write_text("".join(json.dumps({"step": step, "s": seconds}) + "\n" for step, seconds in rows))
    assert stage_times(tmp_path) == [StageTime("teacher", 50, 2.5)]
