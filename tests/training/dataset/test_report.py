"""The picture of what was prepared."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lipsync_cli.training.dataset.format import read_index
from lipsync_cli.training.dataset.report import CHART_PX, bars, histogram, save_report


def test_save_report_shows_more_for_more_splits(folder: Path) -> None:
    records = read_index(folder)
    heights = [
        cv2.imread(str(save_report(folder, shown, {"blurred": 3}))).shape[0] for shown in (records[:1], records)
    ]
    assert heights[1] > heights[0] > CHART_PX[1]
    (folder / "report.png").unlink()


def test_histogram_draws_columns_by_their_counts() -> None:
    few, many = (histogram("values", [0.0] * n + [1.0] * 10) for n in (1, 9))
    assert few.shape == many.shape == (CHART_PX[1], CHART_PX[0], 3)
    left = slice(0, CHART_PX[0] // 2)
    assert (many[40:180, left] > 60).sum() > 2 * (few[40:180, left] > 60).sum()


def test_histogram_of_nothing_is_a_title() -> None:
    assert not np.array_equal(histogram("a", []), histogram("b", []))


def test_bars_are_as_long_as_their_values() -> None:
    chart = bars("seconds", [("one", 10.0), ("two", 5.0)])
    blue = (200, 160, 90)
    lengths = [int((chart[26 + 18 * row + 6] == blue).all(-1).sum()) for row in range(2)]
    assert lengths[0] > 1.8 * lengths[1] > 0
