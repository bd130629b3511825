"""The analysis of guidance along the teacher's trajectory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lipsync_cli.engines.mini.nn.state_sync import StateSync
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.training.mini.trajectory import GuidanceProbe, analyse
from tests.helpers.flow_batches import SMALL_FLOW, random_batch
from tests.helpers.small_stages import LATENT, awake, states


def test_analyse_covers_the_trajectory_and_the_two_step_schedules(tmp_path: Path) -> None:
    teacher, expert = awake(WindowFlow(SMALL_FLOW)), awake(StateSync(LATENT))
    path = analyse(teacher, expert, states(), tmp_path, scales=(1.0, 2.0), frames=16, size=2)
    rows = json.loads(path.read_text())
    assert len(rows["trajectory"]) == 2 * 50 and len(rows["two_steps"]) == 4 * 15
    assert rows["trajectory"][0]["time"] == pytest.approx(0.9997, abs=1e-3)
    batch = random_batch()
    perfect = GuidanceProbe.of(teacher, expert, batch).measure(teacher.normalise(batch.z), (1.0,), 0.5)
    assert perfect.distance == 0 and perfect.spread == pytest.approx(1)
