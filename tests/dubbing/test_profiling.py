"""The clock behind the report's table of stages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from lipsync_cli.dubbing.profiling import STAGES, StageClock, peak_rss_mb


def test_stages_are_listed_in_order_whether_or_not_anything_was_booked() -> None:
    clock = StageClock(STAGES)
    with clock.stage("encode", frames=2), clock.stage("decode"):
        pass
    assert [entry.stage for entry in clock.entries()] == list(STAGES)
    assert [entry.frames for entry in clock.entries()] == [0, 0, 0, 0, 0, 0, 2]


def test_nested_stages_book_only_their_own_time() -> None:
    clock = StageClock()

    def source() -> Iterator[int]:
        for i in range(3):
            time.sleep(0.02)
            yield i

    def work(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            time.sleep(0.01)
            yield item

    assert list(clock.wrap("work", work(clock.wrap("source", source())))) == [0, 1, 2]
    entries = {entry.stage: entry for entry in clock.entries(media_s=6.0)}
    assert entries["source"].frames == entries["work"].frames == 3
    assert entries["source"].seconds >= 0.06
    assert entries["work"].seconds >= 0.03
    assert sum(entry.seconds for entry in entries.values()) <= clock.elapsed
    assert entries["source"].realtime_factor == pytest.approx(6.0 / entries["source"].seconds)


def test_a_wrapped_iterator_is_closed_and_a_failing_stage_is_left() -> None:
    clock, closed = StageClock(), []

    def source() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    items = clock.wrap("source", source())
    next(items)
    items.close()
    assert closed == [True]
    with pytest.raises(ValueError, match="oops"), clock.stage("broken"):
        raise ValueError("oops")
    with clock.stage("after", frames=4):
        pass
    assert [entry.stage for entry in clock.entries()] == ["source", "broken", "after"]
    assert clock.entries()[2].frames == 4


def test_threads_book_side_by_side() -> None:
    clock = StageClock()

    def busy() -> None:
        with clock.stage("thread"):
            time.sleep(0.03)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    with clock.stage("main"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seconds = {entry.stage: entry.seconds for entry in clock.entries()}
    assert seconds["thread"] >= 0.09
    assert seconds["main"] >= 0.03


def test_only_the_first_mark_counts() -> None:
    clock = StageClock()
    assert clock.marked("first frame") is None
    clock.mark("first frame")
    first = clock.marked("first frame")
    clock.mark("first frame")
    assert clock.marked("first frame") == first


def test_peak_memory_is_plausible() -> None:
    peak = peak_rss_mb()
    assert peak is None or 5 < peak < 1e6
