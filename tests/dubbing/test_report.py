"""The report as a document, as lines and as a table."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from lipsync_cli.core.errors import UsageError
from lipsync_cli.dubbing.profiling import StageEntry
from lipsync_cli.dubbing.report import (
    DubReport,
    FileEntry,
    LatencyEntry,
    ModelEntry,
    SpanEntry,
    format_stage_table,
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
        "latency": (LatencyEntry("track look-ahead", 3, 0.12),),
        "warnings": ("The dub is 1 s shorter.",),
    }
    return DubReport(**{**values, **changes})


def test_the_report_is_json_with_the_schema_first() -> None:
    document = make_report().to_json()
    assert next(iter(document)) == "schema"
    assert json.loads(json.dumps(document)) == document
    assert document["spans"][1] == {"start_s": 0.2, "end_s": 2.0, "reason": "dubbed", "track": 0}
    assert document["model"] == {"name": "tiny", "version": 1, "sha256": "ab"}
    assert document["ledger"] == [{"stage": "track look-ahead", "frames": 3, "seconds": 0.12}]


def test_the_summary_tells_counts_reasons_speed_and_warnings() -> None:
    text = "\n".join(make_report().summary())
    for words in ("45 of 50 frames dubbed", "5 missing", "2.00× realtime", "Note: The dub is 1 s shorter."):
        assert words in text


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


@pytest.mark.parametrize(("start", "end"), [(Fraction(-1), None), (Fraction(5), Fraction(5)), (None, Fraction(0))])
def test_a_request_for_no_time_is_refused(start: Fraction | None, end: Fraction | None) -> None:
    with pytest.raises(UsageError):
        DubRequest(Path("a"), Path("b"), None, DubSettings(), start=start, end=end)
