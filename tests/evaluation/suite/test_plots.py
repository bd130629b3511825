"""Plots are SVG elements, the same each time, with gaps where there is no value."""

from __future__ import annotations

import sys

import pytest

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.evaluation.suite.plots import aperture_plot, curve_plot, histogram


def test_plots_are_svg_without_anything_random() -> None:
    times, opening = [0.0, 0.04, 0.08], [0.1, None, 0.2]
    for drawn in (
        lambda: aperture_plot(times, opening, [0.1, 0.2, 0.3]),
        lambda: curve_plot([0.5, None, 0.3]),
        lambda: histogram("SSIM", {"self": [0.1, 0.2], "cross": []}),
    ):
        svg = drawn()
        assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
        assert drawn() == svg


def test_plot_of_openings_names_the_truth_where_there_is_one() -> None:
    assert "truth" in aperture_plot([0.0, 1.0], [0.1, 0.2], [0.1, 0.2])
    assert "truth" not in aperture_plot([0.0, 1.0], [0.1, 0.2], [])


def test_plots_without_matplotlib_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(EnvironmentProblem, match="matplotlib") as raised:
        curve_plot([0.1])
    assert "lipsync-cli[report]" in raised.value.hint
