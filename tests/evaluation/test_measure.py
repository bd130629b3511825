"""Frames that belong together, and the crops measures share."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.evaluation.measure import MatchedFrames, Measure, mean_or_none
from tests.helpers.measured_frames import NO_SOUNDS, context, faceless, measured_frame, noise


def test_matched_crops_lie_where_the_partners_face_is() -> None:
    frames = MatchedFrames(measured_frame(0, noise(0)), measured_frame(0, noise(1)), measured_frame(0, noise(2)))
    for pair, other in ((frames.at_source, noise(1)), (frames.at_truth, noise(2))):
        np.testing.assert_array_equal(pair[0], noise(0)[:96, :96])
        np.testing.assert_array_equal(pair[1], other[:96, :96])


def test_matched_crops_are_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source = measured_frame(0, noise(1))
    frames = MatchedFrames(measured_frame(0, noise(0)), source, source)
    pair = frames.at_source
    monkeypatch.setattr("lipsync_cli.evaluation.measure.recut", None)
    assert frames.at_source is pair and frames.at_truth is pair


def test_matched_crops_need_a_face_of_the_partner_only() -> None:
    rgb = noise(0)
    assert MatchedFrames(measured_frame(0, rgb)).at_source is None
    assert MatchedFrames(measured_frame(0, rgb), faceless(0, rgb)).at_source is None
    assert MatchedFrames(faceless(0, rgb), measured_frame(0, rgb)).at_source is not None


def test_measure_has_neither_series_nor_features_of_its_own() -> None:
    measure = Measure(context())
    measure.add(MatchedFrames(measured_frame(0, noise(0))))
    measure.add_on_grid(None)
    assert measure.series(NO_SOUNDS) == {} and measure.features() == {}
    with pytest.raises(NotImplementedError):
        measure.values(NO_SOUNDS)


def test_mean_of_nothing_is_none() -> None:
    assert mean_or_none([]) is None
    assert mean_or_none([1.0, 2.0]) == 1.5
