"""Features beside scores, and metrics over all clips of a protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.evaluation.measures.frechet import frechet_distance
from lipsync_cli.evaluation.suite.pooled import pool_features, save_features


def test_pooled_distances_are_taken_over_all_clips_of_a_protocol(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made, real = (rng.normal(mean, 1, (3, 20, 4)).astype(np.float32) for mean in (1, 0))
    (tmp_path / "self").mkdir()
    for number in range(3):
        save_features(tmp_path / "self" / f"{number}.npz", {"fid_made": made[number], "fid_real": real[number]})
    clips = [("self", "0"), ("self", "1"), ("self", "2"), ("cross", "0")]
    expected = frechet_distance(made.reshape(-1, 4), real.reshape(-1, 4))
    assert pool_features(clips, tmp_path) == {"self": {"fid": pytest.approx(expected)}}


def test_pooled_distance_of_a_single_row_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    row = np.ones((1, 4), np.float32)
    save_features(tmp_path / "self" / "a.npz", {"fvd_made": row, "fvd_real": row})
    assert pool_features([("self", "a")], tmp_path) == {}


def test_features_that_are_none_leave_no_file(tmp_path: Path) -> None:
    save_features(tmp_path / "a.npz", {})
    assert not list(tmp_path.iterdir())
