"""The page: every clip with its figures, whatever is missing, and nothing of a name taken as markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipsync_cli.core.errors import OutputError
from lipsync_cli.evaluation.registry import metrics
from lipsync_cli.evaluation.suite.html import write_html
from lipsync_cli.evaluation.suite.plan import ItemResult
from lipsync_cli.evaluation.suite.results import summarise


def result(name: str, protocol: str = "self", sound: str = "", **values: float) -> ItemResult:
    score: dict[str, Any] = {
        "frames": 10, "scored_frames": 8, "metrics": dict.fromkeys(metrics()) | values,
        "times": [0.0, 0.04], "apertures": [0.1, None], "true_apertures": [], "sync_curve": [],
    }  # fmt: skip
    return ItemResult(protocol, name, "", f"{name}.mp4", sound or f"{name}.mp4", score)


def page(results: list[ItemResult], folder: Path) -> str:
    path = folder / "page.html"
    write_html(path, "title", summarise(results), results, folder)
    return path.read_text()


def test_page_shows_each_metric_where_it_says(tmp_path: Path) -> None:
    """In a histogram, too; with every clip, too; in the table only."""
    text = page([result("a", csim=0.9, ssim=0.8, face_share=1.0)], tmp_path)
    table, clips = text.split("Distributions")
    assert all(title in table for title in ("CSIM ↑", "SSIM ↑", "Faces ↑"))
    assert "8 of 10 frames scored · SSIM 0.800 · CSIM 0.900" in clips and "Faces" not in clips
    plots = clips.split("</svg>")
    assert "CSIM" in plots[0] and len(plots) == 3  # one histogram, one curve of the opening


def test_page_shows_failures_and_foreign_sounds(tmp_path: Path) -> None:
    failure = ItemResult("cross", "b", "", "b.mp4", "c.mp4", None, error="No <face>.")
    text = page([result("a", "cross", sound="x/y.wav"), failure], tmp_path)
    assert "a with the sound of y.wav" in text
    assert "No &lt;face&gt;." in text


def test_page_builds_pictures_in(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "a.jpg").write_bytes(b"jpeg")
    with_strip = replace(result("a"), strip="a.jpg")
    assert "data:image/jpeg;base64,anBlZw==" in page([with_strip], tmp_path)


def test_page_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_html(tmp_path / "missing" / "page.html", "title", [], [], tmp_path)
