"""Flicker counts what comes back, within unbroken frames."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.measures.flicker import Flicker, FlickerSeries, flicker
from tests.helpers.measured_frames import NO_SOUNDS, context, measured_frame


def grey(level: int, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def test_flicker_counts_what_comes_back_and_not_what_moves() -> None:
    assert flicker(grey(100), grey(106), grey(100)) == pytest.approx(6)
    assert flicker(grey(100), grey(101), grey(102)) == pytest.approx(0)
    assert flicker(grey(100), grey(150), grey(200)) is None


def test_flicker_is_not_counted_across_a_gap() -> None:
    series = FlickerSeries()
    flat = [grey(level, 128) for level in (100, 104, 100, 104, 100)]
    for index, rgb in zip((0, 1, 5, 6, 9), flat, strict=True):
        series.add(index, rgb, measured_frame(index, rgb).crop)
    assert series.values == []
    for index, rgb in enumerate(flat[:3], start=20):
        series.add(index, rgb, measured_frame(index, rgb).crop)
    assert series.values == [pytest.approx(4)]


def test_flicker_ratio_is_to_the_source() -> None:
    measure = Flicker(context())
    for index in range(5):
        made, real = grey(100 + 4 * (index % 2), 128), grey(100 + 2 * (index % 2), 128)
        measure.add(MatchedFrames(measured_frame(index, made), measured_frame(index, real)))
    assert measure.values(NO_SOUNDS) == {"flicker": pytest.approx(4), "flicker_ratio": pytest.approx(2)}


def test_flicker_alone_has_no_ratio() -> None:
    measure = Flicker(context())
    for index in range(3):
        measure.add(MatchedFrames(measured_frame(index, grey(100, 128))))
    assert measure.values(NO_SOUNDS) == {"flicker": 0, "flicker_ratio": None}
