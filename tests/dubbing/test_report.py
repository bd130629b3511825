"""The report, and the clock behind its table."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from lipsync_cli.core.errors import UsageError
from lipsync_cli.dubbing.report import (
    DubReport,
    FileEntry,
    ModelEntry,
    SpanEntry,
    StageClock,
    StageEntry,
    format_stage_table,
    peak_rss_mb,
)
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.settings import DubSettings


def make_report(**changes: object) -> DubReport:
    values: dict = {
        "tool": "lipsync 0.1.0",
        "preset": "balanced",
        "model": ModelEntry("tiny", 1, "ab"),
        "video": FileEntry("in.mp4", frames=50, rate="25"),
        "audio": FileEntry("dub.wav"),
        "output": FileEntry("out.mp4", frames=50, duration_s=2.0),
        "frames_in": 50,
        "frames_out": 50,
        "frames_dubbed": 45,
        "wall_s": 1.0,
        "realtime_factor": 2.0,
        "first_frame_s": 0.5,
        "device": "cpu",
        "dtype": "float32",
        "seed": 0,
        "threads": 2,
        "passed_through": {"missing": 5},
        "spans": (SpanEntry(0.0, 0.2, "missing"), SpanEntry(0.2, 2.0, "dubbed", 0)),
        "warnings": ("The dub is 1 s shorter.",),
    }
    return DubReport(**{**values, **changes})


def test_the_report_is_json_with_the_schema_first() -> None:
    document = make_report().to_json()
    assert next(iter(document)) == "schema"
    assert json.loads(json.dumps(document)) == document
    assert document["spans"][1] == {"start_s": 0.2, "end_s": 2.0, "reason": "dubbed", "track": 0}
    assert document["model"] == {"name": "tiny", "version": 1, "sha256": "ab"}


def test_the_summary_tells_counts_reasons_speed_and_warnings() -> None:
    text = "\n".join(make_report().summary())
    for words in ("45 of 50 frames dubbed", "5 missing", "2.00× realtime", "Note: The dub is 1 s shorter."):
        assert words in text


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


def test_the_stage_table_has_shares_and_speeds() -> None:
    stages = (
        StageEntry("load", 1.0, 0, 5.0),
        StageEntry("track", 3.0, 50, 0.66),
        StageEntry("blend", 0.001, 50, 2000.0),
        StageEntry("crop", 0.0, 50, None),
    )
    assert format_stage_table(make_report(stages=stages)) == [
        ("load", "1.00 s", "25 %", "–"),
        ("track", "3.00 s", "75 %", "0.7×"),
        ("blend", "0.00 s", "0 %", ">999×"),
        ("crop", "0.00 s", "0 %", "–"),
    ]


def test_peak_memory_is_plausible() -> None:
    peak = peak_rss_mb()
    assert peak is None or 5 < peak < 1e6


@pytest.mark.parametrize(("start", "end"), [(Fraction(-1), None), (Fraction(5), Fraction(5)), (None, Fraction(0))])
def test_a_request_for_no_time_is_refused(start: Fraction | None, end: Fraction | None) -> None:
    with pytest.raises(UsageError):
        DubRequest(Path("a"), Path("b"), None, DubSettings(), start=start, end=end)
