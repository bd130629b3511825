from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.core.concurrency import in_background, in_threads
from tests.helpers.threads import no_thread_left


@given(st.lists(st.integers(), max_size=50), st.integers(1, 5))
def test_in_background_passes_items_unchanged(items, depth):
    with in_background(items, depth) as passed:
        assert list(passed) == items


def test_in_background_runs_at_most_depth_items_ahead():
    made = []

    def source():
        for number in range(100):
            made.append(number)
            yield number

    with in_background(source(), 3) as items:
        assert next(items) == 0
        time.sleep(0.2)
        # One is with us, three wait, one is in the worker's hand.
        assert len(made) <= 5


def test_in_background_raises_an_error_of_the_source_after_what_came_before_it():
    def source():
        yield 1
        raise ValueError("broken")

    with in_background(source(), 2) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="broken"):
            next(items)
        assert list(items) == []


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_in_background_left_early_closes_the_source_and_joins_the_thread(taken):
    closed = threading.Event()

    def source():
        try:
            yield from range(10**9)
        finally:
            closed.set()

    before = set(threading.enumerate())
    with in_background(source(), 2) as items:
        for _ in range(taken):
            next(items)
        time.sleep(0.05)
    assert closed.is_set()
    assert set(threading.enumerate()) <= before


def test_in_background_ends_with_an_error_of_the_consumer():
    with no_thread_left(), pytest.raises(RuntimeError), in_background(iter(range(10**9)), 2) as items:
        next(items)
        raise RuntimeError


def test_in_background_never_started_still_closes_its_source():
    closed = []

    class Source:
        def __iter__(self):
            return iter(())

        def close(self):
            closed.append(True)

    in_background(Source(), 1).close()
    assert closed == [True]


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 4), st.integers(1, 5))
def test_in_threads_keeps_the_order_whoever_is_first(delays, workers, depth):
    def slow(item: tuple[int, int]) -> int:
        time.sleep(item[1] / 2000)
        return item[0]

    assert list(in_threads(slow, enumerate(delays), workers, depth)) == list(range(len(delays)))


def test_in_threads_does_not_wait_for_items_that_have_not_come():
    """A stream that pauses has given everything that went in before."""
    gate = threading.Event()

    def items():
        yield from range(3)
        gate.wait(10)
        yield 3

    out = in_threads(lambda item: item, items(), 2, 4)
    assert [next(out) for _ in range(3)] == [0, 1, 2]
    gate.set()
    assert list(out) == [3]


def test_in_threads_works_no_further_ahead_than_it_may_and_closes_the_source():
    begun, closed = [], []

    def items():
        try:
            for item in range(1000):
                begun.append(item)
                yield item
        finally:
            closed.append(True)

    out = in_threads(lambda item: item, items(), 2, 3)
    assert next(out) == 0
    time.sleep(0.1)
    # One was handed out, three wait, one is in the thread's hand.
    assert len(begun) <= 5
    out.close()
    assert closed == [True]


def test_in_threads_raises_an_error_in_its_turn():
    def function(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    out = in_threads(function, range(9), 3, 3)
    assert [next(out), next(out)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(out)
