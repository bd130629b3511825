"""SSIM gives the values of its definition."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.measures.ssim import Ssim, ssim
from tests.helpers.measured_frames import NO_SOUNDS, context, measured_frame, noise


def grey(level: int, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def test_ssim_of_two_flat_pictures_is_the_term_for_light() -> None:
    c1 = (0.01 * 255) ** 2
    assert ssim(grey(100), grey(120)) == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1))
    assert ssim(noise(0), noise(0)) == pytest.approx(1.0)


def test_ssim_agrees_with_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a = noise(1, 48)
    b = np.clip(0.7 * a + 0.3 * noise(2, 48), 0, 255).astype(np.uint8)
    theirs = metrics.structural_similarity(
        a, b, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(a, b) == pytest.approx(theirs, abs=1e-6)


def test_ssim_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(ValueError, match="unequal shapes"):
        ssim(grey(1, 40), grey(1, 41))
    with pytest.raises(ValueError, match="at least 11"):
        ssim(grey(1, 10), grey(1, 10))


def test_ssim_of_a_clip_is_the_mean_of_its_lower_faces() -> None:
    measure, expected = Ssim(context()), []
    for index in range(3):
        real = noise(index)
        made = (real // 2).astype(np.uint8)
        measure.add(MatchedFrames(measured_frame(index, made), truth=measured_frame(index, real)))
        expected.append(ssim(made[:96, :96], real[:96, :96]))
    assert measure.values(NO_SOUNDS) == {"ssim": pytest.approx(np.mean(expected))}
