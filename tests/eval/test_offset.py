"""Confidence, distance and AV offset of curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.eval.offset import distance_curve, score_curve


def test_three_numbers_of_a_known_curve() -> None:
    curve = np.full(31, 12.0)
    curve[18] = 7.0
    score = score_curve(curve, windows=40)
    assert (score.confidence, score.distance, score.av_offset, score.windows) == (5.0, 7.0, -3, 40)
    assert score.at(-3) == 7.0 and score.at(0) == 12.0


@given(st.integers(-12, 12))
def test_sound_that_is_late_gives_a_negative_offset(late: int) -> None:
    events = np.random.default_rng(0).normal(0, 1, (120, 16))
    pictures, sound = events[20:100], events[20 - late : 100 - late]
    distances = np.linalg.norm(pictures[:, None] - sound[None], axis=-1)
    score = score_curve(distance_curve(distances), windows=80)
    assert score.av_offset == -late
    assert score.distance == pytest.approx(0)


def test_sound_windows_may_begin_before_the_picture() -> None:
    events = np.random.default_rng(0).normal(0, 1, (120, 16))
    # Picture window 0 happens at the time of sound window 20.
    distances = np.linalg.norm(events[30:90, None] - events[None, 10:110], axis=-1)
    curve = distance_curve(distances, first_sound=20)
    assert score_curve(curve, 60).av_offset == 0
    assert np.isfinite(curve).all()


def test_offsets_with_little_overlap_are_left_out() -> None:
    curve = distance_curve(np.ones((18, 18)))
    assert np.isfinite(curve).sum() == 25
    assert np.isnan(curve[[0, 1, 2, -3, -2, -1]]).all()


def test_a_curve_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="some finite"):
        score_curve(np.full(31, np.nan), windows=0)
