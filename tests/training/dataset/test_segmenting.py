"""From one source to its stretches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.core.geometry import invert_affine
from lipsync_cli.core.types import Alignment
from lipsync_cli.training.dataset.segmenting import rows_in_picture, segment_source
from lipsync_cli.training.dataset.sources import Source


@pytest.mark.parametrize(("turn", "rows"), [(0, 64), (30, 64)])
def test_rows_in_picture_are_counted_from_the_matrix(turn: int, rows: int) -> None:
    # A crop of 96 whose centre column reaches the last line of a 200 x 100 picture after 64 rows.
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upwards = rotation @ [0.0, -1.0]
    bottom = np.array([100.0, 99.5])
    to_frame = np.column_stack([rotation, bottom + upwards * rows - rotation @ [47.5, -0.5]])
    assert rows_in_picture(Alignment(invert_affine(to_frame), 96), 200, 100) == rows
    inside = np.column_stack([0.1 * np.eye(2), [50.0, 20.0]])
    assert rows_in_picture(Alignment(invert_affine(inside), 96), 200, 100) == 96


def test_segment_source_of_what_cannot_be_read_gives_a_note(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for name in ("broken.mp4", "missing.mp4"):
        result = segment_source(tmp_path, tmp_path / "out", Source(name, 1.0), crop_size=96, identify=False)
        assert result.path == name and result.note and not result.stretches
