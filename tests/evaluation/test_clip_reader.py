"""What is on screen on the 25 Hz grid, and crops of other frames at the same place."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.evaluation.clip_reader import on_grid, recut
from tests.helpers.measured_frames import faceless, measured_frame, noise
from tests.helpers.timing import frame_on_screen


@given(
    st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(24), Fraction(12), Fraction(60)]),
    st.integers(1, 60),
)
def test_grid_shows_what_is_on_screen(rate: Fraction, count: int) -> None:
    times = [Fraction(1, 3) + i / rate for i in range(count)]
    wanted = [times[0] + Fraction(i, 25) for i in range(int((times[-1] - times[0]) * 25) + 1)]
    shown = list(on_grid(zip(times, range(count), strict=True)))
    assert shown == [frame_on_screen(times, time) for time in wanted]
    assert list(on_grid(iter([]))) == []


def test_recut_is_the_same_part_of_another_frame() -> None:
    crop = measured_frame(0, noise(0)).crop
    np.testing.assert_array_equal(recut(noise(1), crop), noise(1)[:96, :96])


def test_aperture_of_a_frame_without_a_face_is_nan() -> None:
    assert np.isnan(faceless(0, noise(0)).aperture)
    assert measured_frame(0, noise(0), 0.2).aperture > measured_frame(0, noise(0), 0.1).aperture
