"""How a metric is shown and compared, and which missing need is its reason."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import ORIGINAL, SOUND, TRUTH, Inputs, NetworkFile, NetworkOptions

NETWORK = NetworkFile("one", "one.pt", Path)


def metric(**fields) -> Metric:
    return Metric(**({"name": "m", "title": "M", "meaning": "something"} | fields))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.12345, "0.12"), (-3.0, "−3.00"), (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "nan")],
)
def test_metric_formats_values_for_people(value: float | None, text: str) -> None:
    assert metric(digits=2).format(value) == text


@pytest.mark.parametrize(("better", "apart"), [("zero", 0.4), ("one", 1.4), ("higher", -0.4), ("lower", -0.4)])
def test_metric_is_compared_by_its_distance_from_its_aim(better: str, apart: float) -> None:
    assert metric(better=better).distance(-0.4) == pytest.approx(apart)


def test_metric_means_are_of_the_size_unless_the_sign_says_something() -> None:
    assert metric(better="zero").of_size
    assert not metric(better="zero", signed=True).of_size
    assert not metric(better="lower").of_size


def test_metric_gives_the_first_missing_need_as_reason() -> None:
    both = metric(needs=(NETWORK, SOUND))
    assert both.why_missing(Inputs(frozenset(), NetworkOptions())) == "needs one.pt; give its folder with --weights"
    there = NetworkOptions({"one": Path("one.pt")})
    assert both.why_missing(Inputs(frozenset({TRUTH, ORIGINAL}), there)) == "the clip has no sound"
    assert both.why_missing(Inputs(frozenset({SOUND}), there)) == ""
    assert metric().why_missing(Inputs(frozenset(), NetworkOptions())) == ""
