"""Lip metrics: known answers on made landmarks and series."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.core.landmarks68 import mouth_aperture
from lipsync_cli.evaluation.measure import AlignedSound, ClipSounds, MatchedFrames
from lipsync_cli.evaluation.measures.lips import (
    LipMotion,
    aperture_correlation,
    aperture_spread,
    mouth_distance,
    silent_aperture,
)
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.synthetic import write_voice
from tests.helpers.measured_frames import NO_SOUNDS, context, faceless, measured_frame, noise


def face(eyes_apart: float = 60.0) -> np.ndarray:
    points = np.random.default_rng(3).uniform(0, 100, (68, 2))
    points[36:42], points[42:48] = (20, 30), (20 + eyes_apart, 30)
    return points


def test_lmd_is_a_share_of_the_inter_ocular_distance_and_ignores_place() -> None:
    real = face(60)
    assert mouth_distance(real + np.array([7, -3]), real) == pytest.approx(0)
    made = real.copy()
    # Half of the points up, half down by 3 px: the mean stays, every point is 3 px off.
    made[48:58, 1] -= 3
    made[58:68, 1] += 3
    assert mouth_distance(made, real) == pytest.approx(3 / 60)


@given(st.integers(-4, 4))
def test_correlation_finds_a_late_mouth_at_its_offset(late: int) -> None:
    real = np.random.default_rng(0).normal(0.1, 0.03, 80)
    found = aperture_correlation(np.roll(real, late), real)
    assert found is not None
    assert found.offset == late
    assert found.best == pytest.approx(1)
    assert (found.at_zero == pytest.approx(1)) == (late == 0)


def test_correlation_is_pearsons_and_leaves_missing_faces_out() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(0.1, 0.03, 60)
    made = 0.5 * real + rng.normal(0, 0.01, 60)
    made[[3, 30]] = np.nan
    kept = np.isfinite(made)
    found = aperture_correlation(made, real, max_offset=0)
    assert found is not None
    assert found.at_zero == pytest.approx(np.corrcoef(made[kept], real[kept])[0, 1])


def test_correlation_of_a_still_mouth_is_none() -> None:
    assert aperture_correlation(np.full(50, 0.1), np.random.default_rng(0).normal(0.1, 0.03, 50)) is None
    assert aperture_correlation(np.arange(5.0), np.arange(5.0)) is None
    with pytest.raises(ValueError, match="equal length"):
        aperture_correlation(np.arange(20.0), np.arange(21.0))


def test_silent_aperture_is_the_mean_deep_in_silence() -> None:
    aperture, silence = np.array([0.2, 0.2, 0.01, 0.03, 0.02, np.nan]), np.array([0, 0.5, 1, 1, 1, 1])
    assert silent_aperture(aperture, silence) == pytest.approx(0.02)
    assert silent_aperture(aperture, silence, min_frames=4) is None


def test_spread_is_a_ratio_of_deviations_where_both_have_a_face() -> None:
    real = np.array([0.1, 0.2, 0.3, np.nan, 0.4])
    assert aperture_spread(0.5 * real, real) == pytest.approx(0.5)
    assert aperture_spread(np.full(5, np.nan), real) is None
    assert aperture_spread(real, np.full(5, 0.1)) is None


def test_lip_motion_of_a_clip_with_itself_is_perfect() -> None:
    measure = LipMotion(context())
    for index in range(20):
        frame = measured_frame(index, noise(index), 0.05 + 0.05 * np.sin(index))
        measure.add(MatchedFrames(frame, truth=frame))
    values = measure.values(NO_SOUNDS)
    assert values["lmd"] == 0 and values["aperture_offset"] == 0
    assert values["aperture_corr"] == values["aperture_corr_0"] == pytest.approx(1)
    assert values["aperture_spread"] == pytest.approx(1)
    assert values["silence_aperture"] is None


def test_lip_motion_that_is_half_as_wide_has_half_the_spread() -> None:
    measure = LipMotion(context())
    for index in range(20):
        made = measured_frame(index, noise(0), 0.02 + 0.01 * np.sin(index))
        measure.add(MatchedFrames(made, truth=measured_frame(index, noise(0), 0.04 + 0.02 * np.sin(index))))
    assert measure.values(NO_SOUNDS)["aperture_spread"] == pytest.approx(0.5, abs=0.1)


def test_lip_motion_gives_its_series_from_the_clips_first_frame() -> None:
    measure = LipMotion(context())
    measure.add(MatchedFrames(measured_frame(5, noise(0), 0.1)))
    measure.add(MatchedFrames(faceless(6, noise(0))))
    series = measure.series(ClipSounds(Fraction(2, 25)))
    points = measured_frame(5, noise(0), 0.1).face.landmarks
    assert series["times"] == [pytest.approx(3 / 25), pytest.approx(4 / 25)]
    assert series["apertures"][0] == pytest.approx(mouth_aperture(points)) and np.isnan(series["apertures"][1])
    assert len(series["true_apertures"]) == 0
    assert mouth_aperture(points) > mouth_aperture(MEAN_FACE[:, :2] * 100)


@pytest.mark.parametrize(("start", "expected"), [(Fraction(0), None), (Fraction(2), 0.1)])
def test_silent_aperture_is_taken_where_the_sound_is_silent(
    start: Fraction, expected: float | None, tmp_path: Path
) -> None:
    """The voice lasts two seconds; what lies behind it is silence."""
    write_voice(tmp_path / "voice.wav", 2.0)
    measure = LipMotion(context())
    for index in range(20, 40):
        measure.add(MatchedFrames(measured_frame(index, noise(0), 0.1)))
    sound = AlignedSound(tmp_path / "voice.wav", start)
    value = measure.values(ClipSounds(Fraction(0), sound))["silence_aperture"]
    opening = measured_frame(0, noise(0), 0.1).aperture
    assert value == (None if expected is None else pytest.approx(opening))
