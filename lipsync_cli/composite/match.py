"""Making a generated crop agree with the picture around it: its colour, and the detail only the picture has.

Both work in crop space on float32 RGB in [0, 1], look at one frame only and vary smoothly, so that they neither
flicker nor draw edges of their own.
"""

from __future__ import annotations

import cv2
import numpy as np

from lipsync_cli.types import Float32

FIELD_CELLS = 24
"""The colour field is worked out on about this many cells per side."""
OUTLIER = 0.04
"""A ring cell that differs from the ring's median by this much counts a quarter: lips or a chin moved there."""
MAX_SHIFT, MAX_VARIATION = 0.14, 0.06
"""Bounds of the field: its mean, and how far it may vary around it. More is not colour but a different picture."""
DIFFUSION_SIGMAS = (1.0, 2.0, 4.0, 8.0)
DETAIL_SIGMA = 0.015
"""Neighbourhood, in crop widths, over which agreement is judged."""
DETAIL_TOLERANCE = 0.025
"""Difference in mean RGB, root mean square over the neighbourhood, at which half of the detail stays."""
GRAY = np.full((1, 3), 1 / 3, np.float32)


def color_field(generated: Float32, source: Float32, mask: Float32) -> Float32:
    """What to add to ``generated`` ``[h w 3]`` so that it meets ``source`` where ``mask`` ``[h w]`` fades.

    The difference is read in the soft edge of the mask, where both show the same skin, and spread into the
    interior. Robust to places where the edge shows different things. ``[h w 3]``; zero if there is no edge.
    """
    height, width = mask.shape
    cells = (min(FIELD_CELLS, width), min(FIELD_CELLS, height))
    difference = _shrink(source - generated, cells)
    ring = _shrink(4 * mask * (1 - mask), cells)
    seen = ring > 0.25
    if not seen.any():
        return np.zeros_like(generated)
    median = np.median(difference[seen], axis=0).astype(np.float32)
    residual = difference - median
    ring = ring / (1 + (residual * residual).mean(-1) / OUTLIER**2) ** 2
    field = np.clip(_diffuse(residual, ring), -MAX_VARIATION, MAX_VARIATION)
    field += np.clip(median, -MAX_SHIFT, MAX_SHIFT)
    return np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _shrink(image: Float32, cells: tuple[int, int]) -> Float32:
    return np.asarray(cv2.resize(image, cells, interpolation=cv2.INTER_AREA), np.float32)


def _diffuse(values: Float32, weights: Float32) -> Float32:
    """Weighted average of ``values`` ``[h w c]`` with a long-tailed kernel: near cells count most, far ones decide
    where nothing is near. A sum of Gaussians stands in for the 1/r³ of membrane interpolation."""
    stacked = np.dstack([values * weights[..., None], weights])
    total = np.full_like(stacked, 1e-6)
    total[..., :-1] = 0
    for sigma in DIFFUSION_SIGMAS:
        blurred = cv2.GaussianBlur(stacked, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        total += np.asarray(blurred) / np.float32(sigma)
    return np.asarray(total[..., :-1] / total[..., -1:])


def with_detail(generated: Float32, source: Float32, size: int) -> tuple[Float32, Float32]:
    """``(paint [h w 3], cover [h w])`` such that ``picture · (1 − cover) + paint`` is ``generated``, yet sharp.

    Where ``generated`` shows what ``source`` shows, ``cover`` is near 0: the picture stays, with its pores and its
    grain, and only the smooth part of the difference is added. Where something new appears ``cover`` is 1.
    ``size`` is the crop's size in pixels, for the width of the neighbourhood.
    """
    difference = generated - source
    gray = np.asarray(cv2.transform(difference, GRAY), np.float32)
    stacked = _smooth(np.asarray(cv2.merge([difference, gray * gray]), np.float32), DETAIL_SIGMA * size)
    smooth, error = stacked[..., :3], stacked[..., 3] / np.float32(DETAIL_TOLERANCE**2)
    cover = np.asarray(1 - 1 / (1 + error * error), np.float32)
    return smooth + cover[..., None] * (generated - smooth), cover


def _smooth(image: Float32, sigma: float) -> Float32:
    """Gaussian blur, at half resolution where nobody can tell."""
    if sigma < 2:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.5)), np.float32)
    height, width = image.shape[:2]
    small = cv2.GaussianBlur(_shrink(image, (width // 2, height // 2)), (0, 0), sigma / 2)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
