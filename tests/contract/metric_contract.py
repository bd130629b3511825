"""What every measure and its metrics promise; subclass it with a fixture ``measure``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from lipsync_cli.evaluation.measure import AlignedSound, ClipContext, ClipSounds, MatchedFrames, Measure
from lipsync_cli.evaluation.metric import SECTIONS, Better
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.needs import ORIGINAL, SOUND, SOURCE, TRUTH, Inputs, NetworkOptions
from tests.helpers.measured_frames import NO_SOUNDS, UPRIGHT, faceless, measured_frame, noise

FRAMES = 24
FACELESS = 20
NOTHING = Inputs(frozenset(), NetworkOptions())


@cache
def matched(index: int) -> MatchedFrames:
    """A dub of noise that moves its lips, with a frame that has no face."""
    openings = 0.05 + 0.05 * np.sin(index), 0.04 + 0.05 * np.sin(index + 0.3)
    real = noise(index // 5)
    made = np.clip(real.astype(int) + noise(100 + index) // 16, 0, 255).astype(np.uint8)
    if index == FACELESS:
        return MatchedFrames(faceless(index, made), faceless(index, real), faceless(index, real))
    return MatchedFrames(
        measured_frame(index, made, openings[0]),
        measured_frame(index, real, openings[1]),
        measured_frame(index, real, openings[1]),
    )


def on_grid(frames: MatchedFrames):
    """The frame as the 25 Hz grid has it."""
    return frames.result if frames.result.face is not None else None


def feed(measure: type[Measure], networks: MetricNetworks, *, count: int = FRAMES, behind: int = 0) -> Measure:
    """A measure that was given ``count`` frames, its grid ``behind`` by so many."""
    fed = measure(ClipContext(UPRIGHT, networks))
    for index in range(count + behind):
        if index < count:
            fed.add(matched(index))
        if index >= behind:
            fed.add_on_grid(on_grid(matched(index - behind)))
    return fed


@cache
def fed_once(measure: type[Measure], networks: MetricNetworks) -> Measure:
    """The same for all tests that only ask it."""
    return feed(measure, networks)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
class MetricContract:
    """Holds for every measure, whoever wrote it."""

    @pytest.fixture
    def sounds(self, voice_wav: Path) -> ClipSounds:
        return ClipSounds(Fraction(0), AlignedSound(voice_wav, Fraction(0)), AlignedSound(voice_wav, Fraction(2, 25)))

    def test_metric_says_what_it_means(self, measure: type[Measure]) -> None:
        assert measure.metrics
        for metric in measure.metrics:
            assert metric.name.isidentifier() and metric.name == metric.name.lower()
            for text in (metric.title, metric.meaning):
                assert text.strip() and "\n" not in text and "|" not in text
            assert len(metric.title) <= 20 and len(metric.meaning) <= 80
            assert metric.better in get_args(Better) and metric.section in SECTIONS
            assert 0 <= metric.digits <= 6
            assert not metric.signed or metric.better == "zero"

    def test_metric_says_why_it_is_missing(self, measure: type[Measure], metric_networks: MetricNetworks) -> None:
        everything = Inputs(frozenset({TRUTH, SOURCE, SOUND, ORIGINAL}), metric_networks.options)
        for metric in measure.metrics:
            reasons = [reason for need in metric.needs if (reason := need.why_missing(NOTHING))]
            assert metric.why_missing(NOTHING) == (reasons[0] if reasons else "")
            assert all("\n" not in reason and not reason.endswith(".") for reason in reasons)
            assert metric.why_missing(everything) == ""

    def test_values_are_none_or_finite(
        self, measure: type[Measure], metric_networks: MetricNetworks, sounds: ClipSounds
    ) -> None:
        values = fed_once(measure, metric_networks).values(sounds)
        assert set(values) <= {metric.name for metric in measure.metrics}
        assert all(value is None or (type(value) is float and math.isfinite(value)) for value in values.values())

    def test_values_are_the_same_every_time(
        self, measure: type[Measure], metric_networks: MetricNetworks, sounds: ClipSounds
    ) -> None:
        fed = fed_once(measure, metric_networks)
        values = fed.values(sounds)
        assert feed(measure, metric_networks).values(sounds) == values
        fed.values(NO_SOUNDS)
        assert fed.values(sounds) == values

    def test_values_do_not_depend_on_how_far_the_grid_is_behind(
        self, measure: type[Measure], metric_networks: MetricNetworks, sounds: ClipSounds
    ) -> None:
        values = fed_once(measure, metric_networks).values(sounds)
        assert feed(measure, metric_networks, behind=7).values(sounds) == values

    @pytest.mark.parametrize("count", [0, 1])
    def test_values_of_too_little_are_none_or_finite(
        self, measure: type[Measure], metric_networks: MetricNetworks, sounds: ClipSounds, count: int
    ) -> None:
        values = feed(measure, metric_networks, count=count).values(sounds)
        assert all(value is None or (count and math.isfinite(value)) for value in values.values())

    def test_values_without_a_face_or_a_partner_are_none_or_finite(
        self, measure: type[Measure], metric_networks: MetricNetworks
    ) -> None:
        rgb = noise(0)
        for alone in (MatchedFrames(measured_frame(0, rgb)), MatchedFrames(faceless(0, rgb))):
            fed = measure(ClipContext(UPRIGHT, metric_networks))
            fed.add(alone)
            fed.add_on_grid(on_grid(alone))
            assert all(value is None or math.isfinite(value) for value in fed.values(NO_SOUNDS).values())

    def test_series_have_the_names_that_were_declared(
        self, measure: type[Measure], metric_networks: MetricNetworks, sounds: ClipSounds
    ) -> None:
        for asked in (sounds, NO_SOUNDS):
            series = fed_once(measure, metric_networks).series(asked)
            assert set(series) == set(measure.series_names)
            assert all(isinstance(value, float) for curve in series.values() for value in curve)

    def test_features_are_pooled_to_a_finite_number(
        self, measure: type[Measure], metric_networks: MetricNetworks
    ) -> None:
        features = fed_once(measure, metric_networks).features()
        pooled = {metric.name: metric.pool for metric in measure.metrics if metric.pool is not None}
        assert all(any(key.startswith(f"{name}_") for name in pooled) for key in features)
        for name, pool in pooled.items():
            parts = _parts(features, f"{name}_")
            value = pool({part: np.concatenate([rows, rows + 1]) for part, rows in parts.items()})
            assert value is not None and math.isfinite(value)


def _parts(features: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): rows for key, rows in features.items() if key.startswith(prefix)}
