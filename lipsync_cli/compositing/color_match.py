"""Making a generated crop agree with the picture around it: its colour, and the detail only the picture has.

Both work in crop space on float32 RGB in [0, 1], depend on one frame only and vary smoothly, so that they neither
flicker nor draw edges of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lipsync_cli.core.geometry import of_each_channel
from lipsync_cli.core.types import Float32

FIELD_CELLS = 24
"""The colour field is worked out on about this many cells per side."""
RING_MIN = 0.25
"""Cells with at least this much of the soft edge, which is 1 at its middle, belong to the ring."""
OUTLIER = 0.04
"""A ring cell that differs from the ring's median by this much counts a quarter: lips or a chin moved there."""
MAX_SHIFT, MAX_VARIATION = 0.14, 0.06
"""Bounds of the field: its mean, and how far it may vary around it. More is not colour but a different picture."""
DIFFUSION_SIGMAS = (1.0, 2.0, 4.0, 8.0)
DIFFUSION_FLOOR = 1e-6
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
    difference = shrink(source - generated, cells)
    ring = shrink(4 * mask * (1 - mask), cells)
    in_ring = ring > RING_MIN
    if not in_ring.any():
        return np.zeros_like(generated)
    median = np.median(difference[in_ring], axis=0).astype(np.float32)
    residual = difference - median
    ring = ring / (1 + (residual * residual).mean(-1) / OUTLIER**2) ** 2
    field = np.clip(_diffuse(residual, ring), -MAX_VARIATION, MAX_VARIATION)
    field += np.clip(median, -MAX_SHIFT, MAX_SHIFT)
    return grow(field, (width, height))


def _diffuse(values: Float32, weights: Float32) -> Float32:
    """Weighted average of ``values`` ``[h w c]`` with a long-tailed kernel: near cells count most, far ones decide
    where nothing is near. A sum of Gaussians stands in for the 1/r³ of membrane interpolation."""
    stacked = np.dstack([values * weights[..., None], weights])
    total = np.full_like(stacked, DIFFUSION_FLOOR)
    total[..., :-1] = 0
    for sigma in DIFFUSION_SIGMAS:
        total += blur(stacked, sigma, border=cv2.BORDER_CONSTANT) / np.float32(sigma)
    return np.asarray(total[..., :-1] / total[..., -1:])


def with_detail(generated: Float32, source: Float32, size: int) -> tuple[Float32, Float32]:
    """``(color [h w 3], alpha [h w])`` such that ``picture · (1 − alpha) + color`` is ``generated``, yet sharp.

    Where ``generated`` shows what ``source`` shows, ``alpha`` is near 0: the picture stays, with its pores and its
    grain, and only the smooth part of the difference is added. Where something new appears ``alpha`` is 1.
    ``size`` is the crop's size in pixels, for the width of the neighbourhood.
    """
    difference = generated - source
    gray = np.asarray(cv2.transform(difference, GRAY), np.float32)
    slow = smooth(difference, DETAIL_SIGMA * size)
    error = smooth(gray * gray, DETAIL_SIGMA * size) / np.float32(DETAIL_TOLERANCE**2)
    alpha = np.asarray(1 - 1 / (1 + error * error), np.float32)
    color = generated - slow
    color *= of_each_channel(alpha)
    color += slow
    return color, alpha


def shrink(image: Float32, size: tuple[int, int]) -> Float32:
    """``image`` with ``size`` columns and rows, each the mean of its area."""
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def grow(image: Float32, size: tuple[int, int]) -> Float32:
    """``image`` with ``size`` columns and rows, linear in between."""
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.float32)


def blur(image: Float32, sigma: float, *, sideways: bool = True, border: int = cv2.BORDER_REFLECT_101) -> Float32:
    """Gaussian blur, without ``sideways`` along columns only."""
    side = 0 if sideways else 1
    return np.asarray(cv2.GaussianBlur(image, (side, 0), sigma, sigmaY=sigma, borderType=border), np.float32)


def smooth(image: Float32, sigma: float, *, sideways: bool = True) -> Float32:
    """Gaussian blur, at half resolution where nobody can tell; without ``sideways`` along columns only."""
    if sigma < 2:
        return blur(image, max(sigma, 0.5), sideways=sideways)
    height, width = image.shape[:2]
    small = shrink(image, (width // 2 if sideways else width, height // 2))
    return grow(blur(small, sigma / 2, sideways=sideways), (width, height))


@dataclass(frozen=True, slots=True)
class AxisOperators:
    """What this module does along one axis of ``n`` pixels and ``k`` cells, as matrices for other hardware.

    All of it is separable and linear: an image becomes ``rows @ image @ columns.T``. ``shrink`` ``[k n]`` leads to
    cells and ``grow`` ``[n k]`` back; ``diffuse`` ``[s k k]`` blurs cells, one matrix for each of DIFFUSION_SIGMAS
    over that sigma's square root (rows and columns together divide by it); ``smooth`` ``[n n]`` is ``smooth``.
    """

    shrink: Float32
    grow: Float32
    diffuse: Float32
    smooth: Float32


def axis_operators(length: int, size: int) -> AxisOperators:
    """The operators for an axis of ``length`` pixels of a crop of ``size``, read off from unit impulses."""
    cells = min(FIELD_CELLS, length)
    pixel, cell = np.eye(length, dtype=np.float32), np.eye(cells, dtype=np.float32)
    blurred = [
        blur(cell, sigma, sideways=False, border=cv2.BORDER_CONSTANT) / np.float32(sigma**0.5)
        for sigma in DIFFUSION_SIGMAS
    ]
    return AxisOperators(
        shrink=shrink(pixel, (length, cells)),
        grow=grow(cell, (cells, length)),
        diffuse=np.stack(blurred),
        smooth=smooth(pixel, DETAIL_SIGMA * size, sideways=False),
    )
