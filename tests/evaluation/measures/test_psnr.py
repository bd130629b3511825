"""PSNR gives the values of its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.measures.psnr import Psnr, psnr, squared_error
from tests.helpers.measured_frames import NO_SOUNDS, context, faceless, measured_frame, noise


def grey(level: int, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def test_psnr_of_a_uniform_difference_of_five_levels() -> None:
    assert psnr(squared_error(grey(100), grey(105))) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(squared_error(grey(100), grey(100))) == math.inf


def test_psnr_refuses_pictures_of_unequal_size() -> None:
    with pytest.raises(ValueError, match="unequal shapes"):
        squared_error(grey(1, 40), grey(1, 41))


def test_psnr_of_a_clip_is_that_of_the_mean_error() -> None:
    measure = Psnr(context())
    for index, levels in enumerate((2, 4)):
        made, real = grey(100 + levels, 128), grey(100, 128)
        measure.add(MatchedFrames(measured_frame(index, made), truth=measured_frame(index, real)))
    measure.add(MatchedFrames(measured_frame(2, noise(0)), truth=faceless(2, noise(1))))
    assert measure.values(NO_SOUNDS) == {"psnr": pytest.approx(10 * math.log10(255**2 / 10))}


def test_psnr_of_equal_clips_is_infinite() -> None:
    measure, frame = Psnr(context()), measured_frame(0, noise(0))
    measure.add(MatchedFrames(frame, truth=frame))
    assert measure.values(NO_SOUNDS) == {"psnr": math.inf}
