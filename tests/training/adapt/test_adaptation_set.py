"""Which frames of a video are used, held out, and may be references."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.training.adapt.adaptation_set import (
    GUARD,
    AdaptationFrame,
    SpacedRuns,
    split,
)


@given(st.integers(40, 1000))
def test_split_holds_out_a_seventh_with_a_gap_around(count: int) -> None:
    train, held = split(count)
    assert 0.12 * count <= len(held) <= 0.18 * count
    assert len(train) >= 0.6 * count
    assert np.abs(train[:, None] - held).min() > GUARD


def offered(count: int, limit: int, run: int) -> tuple[list[int], int]:
    """Which of ``count`` items are kept, and how many were ever held."""
    sample, made = SpacedRuns(limit, run), 0

    def make(number: int) -> Callable[[], AdaptationFrame]:
        return lambda: AdaptationFrame(np.zeros((1, 1, 3), np.uint8), np.zeros((68, 2)), float(number), 0)

    for number in range(count):
        sample.add(make(number))
        made = max(made, len(sample.items()))
    assert sample.offered == count
    return [int(item.time) for item in sample.items()], made


@given(st.integers(1, 400), st.integers(1, 7), st.integers(2, 12))
def test_spaced_runs_are_bounded_and_spread_over_the_whole(count: int, run: int, runs: int) -> None:
    limit = run * runs
    kept, most = offered(count, limit, run)
    assert most <= limit and kept == sorted(set(kept)) and kept[0] == 0
    if count <= limit:
        assert kept == list(range(count))
        return
    numbers = sorted({number // run for number in kept})
    strides = set(np.diff(numbers))
    assert len(kept) >= limit // 2 - run and len(strides) == 1
    assert count // run - numbers[-1] <= strides.pop()
