"""Confidence, distance and AV offset of curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.evaluation.measures.av_offset import (
    SyncScore,
    mean_scores,
    offset_sums,
    one_minus_cosine,
    score_curve,
)


def euclidean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=-1)


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
    score = score_curve(offset_sums(pictures, sound, euclidean).curve(), windows=80)
    assert score.av_offset == -late
    assert score.distance == pytest.approx(0)


def test_sound_windows_may_begin_before_the_picture() -> None:
    events = np.random.default_rng(0).normal(0, 1, (120, 16))
    # Picture window 0 happens at the time of sound window 20.
    curve = offset_sums(events[30:90], events[10:110], euclidean, first_sound=20).curve()
    assert score_curve(curve, 60).av_offset == 0
    assert np.isfinite(curve).all()


@given(st.integers(1, 7), st.integers(1, 12), st.integers(1, 60), st.integers(-20, 40))
def test_every_so_many_pictures_meet_the_sounds_of_their_time(stride: int, v: int, a: int, first: int) -> None:
    rng = np.random.default_rng(0)
    picture, sound = rng.normal(size=(v, 3)), rng.normal(size=(a, 3))
    found = offset_sums(picture, sound, euclidean, max_offset=6, first_sound=first, stride=stride)
    for k in range(13):
        at = [(i, stride * i + first + k - 6) for i in range(v)]
        met = [euclidean(picture[i], sound[j]) for i, j in at if 0 <= j < a]
        assert found.counts[k] == len(met)
        assert found.sums[k] == pytest.approx(sum(met))


def test_offsets_with_little_overlap_are_left_out() -> None:
    curve = offset_sums(np.ones((18, 2)), np.zeros((18, 2)), euclidean).curve()
    assert np.isfinite(curve).sum() == 25
    assert np.isnan(curve[[0, 1, 2, -3, -2, -1]]).all()


def test_runs_add_up_by_their_pairs() -> None:
    near, far = (offset_sums(np.zeros((n, 1)), np.full((n, 1), d), euclidean) for n, d in ((40, 1.0), (80, 4.0)))
    assert (near + far).curve()[15] == pytest.approx(3.0)


def test_a_curve_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="some finite"):
        score_curve(np.full(31, np.nan), windows=0)


def test_mean_of_scores_cuts_the_offset_off_towards_zero() -> None:
    one, two = (SyncScore(c, d, o, 10, (c, d, c)) for c, d, o in ((1.0, 3.0, -2), (2.0, 5.0, -1)))
    assert mean_scores([one, two]) == SyncScore(1.5, 4.0, -1, 20, (1.5, 4.0, 1.5))


def test_cosine_distance_of_unit_vectors() -> None:
    a, b = np.eye(2, dtype=np.float32), np.array([[1, 0], [1, 0]], np.float32)
    assert one_minus_cosine(a, b).tolist() == [0, 1]
