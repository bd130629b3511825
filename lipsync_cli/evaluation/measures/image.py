"""How close two pictures are, how sharp a mouth is, and how much a clip flickers. Pictures are uint8 ``[h w 3]``."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import Float64, UInt8

PEAK = 255.0
# Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment", section III-C.
SSIM_SIGMA, SSIM_WINDOW = 1.5, 11
SSIM_C1, SSIM_C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
BORDER_SHARE = 0.1
STILL_LEVELS = 4.0


def psnr(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit levels; infinite for equal pictures."""
    return float(10 * np.log10(PEAK**2 / mean_squared_error)) if mean_squared_error > 0 else float("inf")


def squared_error(a: UInt8, b: UInt8) -> float:
    """Mean squared difference in levels². Raises ValueError for unequal shapes."""
    _require_same_shape(a, b)
    return float(np.square(a.astype(np.float64) - b.astype(np.float64)).mean())


def ssim(a: UInt8, b: UInt8) -> float:
    """Structural similarity in [−1, 1], mean over channels and pixels whose whole 11 × 11 window is inside.

    Gaussian window of σ 1.5, population covariances, as in the paper. Raises ValueError for unequal shapes or sides
    below 11 pixels.
    """
    _require_same_shape(a, b)
    if min(a.shape[:2]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs sides of at least {SSIM_WINDOW} pixels, got {a.shape[1]}×{a.shape[0]}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x, var_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (var_x + var_y + SSIM_C2)
    edge = SSIM_WINDOW // 2
    return float((light * structure)[edge:-edge, edge:-edge].mean())


def sharpness(picture: UInt8) -> float:
    """Variance of the Laplacian of the grey picture, in levels²."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    return float(np.var(np.asarray(cv2.Laplacian(grey, cv2.CV_64F))))


def border_error(a: UInt8, b: UInt8) -> float:
    """Mean squared difference in a ring as wide as a tenth of the shorter side, which no dub should touch."""
    _require_same_shape(a, b)
    inside = np.zeros(a.shape[:2], bool)
    width = max(1, round(BORDER_SHARE * min(a.shape[:2])))
    inside[width:-width, width:-width] = True
    difference = a[~inside].astype(np.float64) - b[~inside].astype(np.float64)
    return float(np.square(difference).mean())


def flicker(before: UInt8, now: UInt8, after: UInt8) -> float | None:
    """How far still pixels leave and come back, in levels; None where nothing is still.

    A pixel is still when the frames around it differ by no more than four levels; what moves does not count.
    """
    past, present, future = (picture.astype(np.float32) for picture in (before, now, after))
    still = np.abs(future - past) <= STILL_LEVELS
    if not still.any():
        return None
    return float(np.abs(present - (past + future) / 2)[still].mean())


def _windowed(values: Float64) -> Float64:
    # OpenCV's stubs forget that the dtype is kept.
    return cast(
        Float64,
        cv2.GaussianBlur(values, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA, borderType=cv2.BORDER_REFLECT),
    )


def _require_same_shape(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"pictures of unequal shapes cannot be compared: {a.shape} and {b.shape}")
