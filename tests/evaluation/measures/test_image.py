"""Picture metrics give the values their definitions say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lipsync_cli.evaluation.measures.image import border_error, flicker, psnr, sharpness, squared_error, ssim


def grey(level: int, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def noise(seed: int, size: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def test_psnr_of_a_uniform_difference_of_five_levels() -> None:
    assert psnr(squared_error(grey(100), grey(105))) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(squared_error(grey(100), grey(100))) == math.inf


def test_ssim_of_two_flat_pictures_is_the_term_for_light() -> None:
    c1 = (0.01 * 255) ** 2
    assert ssim(grey(100), grey(120)) == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1))
    assert ssim(noise(0), noise(0)) == pytest.approx(1.0)


def test_ssim_agrees_with_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a = noise(1)
    b = np.clip(0.7 * a + 0.3 * noise(2), 0, 255).astype(np.uint8)
    theirs = metrics.structural_similarity(
        a, b, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(a, b) == pytest.approx(theirs, abs=1e-6)


def test_sharpness_of_a_single_bright_pixel() -> None:
    picture = grey(0, 21)
    picture[10, 10] = 10
    # The Laplacian is −40 there and 10 at four neighbours; its mean is 0.
    assert sharpness(picture) == pytest.approx((40**2 + 4 * 10**2) / 21**2)
    assert sharpness(grey(77)) == 0


def test_only_the_outer_tenth_counts_as_border() -> None:
    a, b = grey(100, 50), grey(100, 50)
    b[5:-5, 5:-5] = 0
    assert border_error(a, b) == 0
    b[:5] = 103
    assert border_error(a, b) == pytest.approx(9 * 5 * 50 / (50**2 - 40**2))


def test_flicker_counts_what_comes_back_and_not_what_moves() -> None:
    assert flicker(grey(100), grey(106), grey(100)) == pytest.approx(6)
    assert flicker(grey(100), grey(101), grey(102)) == pytest.approx(0)
    assert flicker(grey(100), grey(150), grey(200)) is None


@pytest.mark.parametrize("measure", [squared_error, ssim, border_error])
def test_pictures_of_unequal_size_are_refused(measure) -> None:
    with pytest.raises(ValueError, match="unequal shapes"):
        measure(grey(1, 40), grey(1, 41))
