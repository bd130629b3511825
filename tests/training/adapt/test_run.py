"""From a video to an adapter file: what is refused before work begins, and the sheet."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_cli.core.errors import UsageError
from lipsync_cli.settings import DubSettings
from lipsync_cli.training.adapt.run import SHEET_COLUMNS, SHEET_PX, AdaptRequest, adapt_video, save_sheet


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output": Path("a.mp4")}, "no name for an adapter"),
        ({"minutes": None, "steps": None}, "Neither steps nor minutes"),
        ({"settings": DubSettings(model="passthrough")}, "cannot be adapted"),
    ],
)
def test_adapt_video_refuses_a_request_before_it_reads_the_video(changes: dict, words: str, tmp_path: Path) -> None:
    values = {
        "video": tmp_path / "none.mp4",
        "output": tmp_path / "a.safetensors",
        "settings": DubSettings(),
    } | changes
    with pytest.raises(UsageError, match=words):
        adapt_video(AdaptRequest(**values))
    assert not list(tmp_path.iterdir())


def test_save_sheet_has_a_row_for_each_name_and_columns_that_are_spread(tmp_path: Path) -> None:
    rows = {name: [np.full((64, 64, 3), 5 * i, np.uint8) for i in range(30)] for name in ("real", "before", "after")}
    save_sheet(tmp_path / "sheet.png", rows)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 3 * SHEET_PX / 2 and sheet.shape[1] % SHEET_COLUMNS == 0
    last = sheet[-20, :, 0].reshape(SHEET_COLUMNS, -1).mean(1)
    assert last[0] == 0 and last[-1] == 145 and (np.diff(last) > 0).all()
