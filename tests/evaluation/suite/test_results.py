"""Means over clips, tables, and which of two results is better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lipsync_cli.core.errors import InputError
from lipsync_cli.evaluation.registry import metrics
from lipsync_cli.evaluation.suite.plan import ItemResult
from lipsync_cli.evaluation.suite.results import compare, document, markdown, read_document, summarise


def result(name: str, protocol: str = "self", **values: float | None) -> ItemResult:
    score: dict[str, Any] = {"metrics": dict.fromkeys(metrics()) | values}
    return ItemResult(protocol, name, "", f"{name}.mp4", f"{name}.mp4", score)


def failed(name: str) -> ItemResult:
    return ItemResult("self", name, "", f"{name}.mp4", f"{name}.mp4", None, error="no face")


def test_summary_means_are_over_scored_clips() -> None:
    rows = summarise([result("a", psnr=30.0), result("b", psnr=34.0, ssim=0.5), failed("c")], {"self": {"fid": 7.0}})
    (row,) = rows
    assert (row.protocol, row.clips, row.failed) == ("self", 2, 1)
    assert row.values == {"psnr": 32.0, "ssim": 0.5, "fid": 7.0}


def test_summary_of_offsets_is_of_their_size_but_a_leak_keeps_its_sign() -> None:
    (row,) = summarise([result("a", av_offset=-2.0, leak=-0.2), result("b", av_offset=2.0, leak=0.1)])
    assert row.values["av_offset"] == 2
    assert row.values["leak"] == pytest.approx(-0.05)


def test_markdown_has_a_line_per_metric_and_a_column_per_protocol() -> None:
    rows = summarise([result("a", psnr=30.0, av_offset=-1.0), result("a", "cross", leak=-0.25)])
    assert markdown(rows).splitlines() == [
        "| metric | self (1) | cross (1) |",
        "| --- | --- | --- |",
        "| \\|AV offset\\| → 0 | 1.0 | – |",
        "| Leak → 0 | – | −0.250 |",
        "| PSNR ↑ | 30.0 | – |",
    ]


def test_document_is_read_again(tmp_path: Path) -> None:
    made = document([result("a", psnr=30.0), failed("b")], {"model": "m"})
    (tmp_path / "r.json").write_text(json.dumps(made))
    assert read_document(tmp_path / "r.json") == made
    assert [clip["error"] for clip in made["clips"]] == ["", "no face"]


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is not JSON"), ("{}", "no result"), ('{"schema": 1}', "no result")]
)
def test_document_that_is_none_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_document(tmp_path / "r.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_document(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("metric", "before", "after", "verdict"),
    [
        ("psnr", 30.0, 31.0, "better"),
        ("lmd", 0.02, 0.03, "worse"),
        ("av_offset", -3.0, 1.0, "better"),
        ("sharpness_ratio", 0.9, 1.3, "worse"),
        ("csim", 0.9, 0.9, "unclear"),
    ],
)
def test_comparison_says_which_is_better(metric: str, before: float, after: float, verdict: str) -> None:
    a, b = (document([result("x", **{metric: value}), failed("y")], {}) for value in (before, after))
    (found,) = compare(a, b)
    assert (found.protocol, found.metric, found.difference.n, found.verdict) == ("self", metric, 1, verdict)


def test_comparison_of_results_without_a_common_clip_is_refused() -> None:
    a, b = (document([result(name, psnr=1.0)], {}) for name in ("x", "y"))
    with pytest.raises(InputError, match="share no clip"):
        compare(a, b)
