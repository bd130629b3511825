"""Figures of the sync expert on held-out clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.nn.sync.sync_mini import SyncMini
from lipsync_cli.training.sync.check import SHIFTS, check_expert, offset_errors
from lipsync_cli.training.sync.data import SyncClip


def test_offset_errors_of_ideal_embeddings_are_zero() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (60, 64)).clip(0).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert offset_errors(rows, rows) == [0] * len(SHIFTS)
    assert set(offset_errors(rows[3:], rows[:-3])) == {-3}


def test_check_expert_that_knows_nothing(expert: SyncMini, prepared: Path) -> None:
    still = SyncClip(np.full((60, 64, 96), 128, np.uint8), np.zeros((240, 80), np.float32), "a", "a.mp4")
    check = check_expert(expert, [still])
    assert (check.clips, check.offset_clips) == (1, 1)
    assert check.window_order < 0.5 and check.window_accuracy == pytest.approx(0.5)
    with pytest.raises(ValueError, match="24 frames"):
        check_expert(expert, [])
