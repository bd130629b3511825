"""Sharpness gives the values of its definition, and its ratio is to the source's."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.measures.sharpness import Sharpness, mouth_box, sharpness
from tests.helpers.measured_frames import NO_SOUNDS, context, measured_frame, noise


def grey(level: int, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def test_sharpness_of_a_single_bright_pixel() -> None:
    picture = grey(0, 21)
    picture[10, 10] = 10
    # The Laplacian is −40 there and 10 at four neighbours; its mean is 0.
    assert sharpness(picture) == pytest.approx((40**2 + 4 * 10**2) / 21**2)
    assert sharpness(grey(77)) == 0


def test_sharpness_looks_at_the_mouth_only() -> None:
    assert mouth_box(grey(0, 192)).shape == (72, 120, 3)


def test_sharpness_ratio_is_to_the_real_mouth() -> None:
    measure = Sharpness(context())
    for index in range(20):
        real = noise(index)
        made = (real.astype(int) // 2).astype(np.uint8)
        measure.add(MatchedFrames(measured_frame(index, made), measured_frame(index, real)))
    assert measure.values(NO_SOUNDS)["sharpness_ratio"] == pytest.approx(0.25, abs=0.02)


def test_sharpness_ratio_to_a_flat_mouth_is_none() -> None:
    measure, flat = Sharpness(context()), grey(9, 128)
    measure.add(MatchedFrames(measured_frame(0, noise(0)), measured_frame(0, flat)))
    assert measure.values(NO_SOUNDS) == {"sharpness_ratio": None}
