"""Displacements and maps from face points: where a mouth state says lips and jaw are, spread over the crop.

This is the renderer's prior. A reference moves towards the target state by the difference of the two states'
points, so that a network that has learned nothing yet already opens and closes the mouth.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipsync_cli.core.landmarks68 import JAW, MOUTH

LIPS = MOUTH
POINTS = (*LIPS, *JAW)
"""Indices into the 68 landmarks, in the order networks use: outer lips 12, inner lips 8, jaw 9."""
OUTER_LIPS, INNER_LIPS, JAW_LINE = slice(0, 12), slice(12, 20), slice(20, 29)
INNER_UPPER, INNER_LOWER = [13, 14, 15], [19, 18, 17]
"""The inner lips' opposite points (61-67, 62-66, 63-65), whose distance is the aperture."""

# Reach of a point in crop widths, and the pull of the resting background against them.
LIP_SIGMA, JAW_SIGMA, BACKGROUND = 0.045, 0.11, 0.15
HEAT_SIGMA = 0.03
# Reach of a lip point where lips are told from skin.
DENSITY_SIGMA = 0.035
# Root mean square lip difference, in crop widths, at which a reference counts for e^-½ as much.
NEAR_SIGMA = 0.004
LEAST_SHARE = 1e-6


Window = tuple[slice, slice]
WHOLE: Window = (slice(None), slice(None))


def pixel_centres(size: int, like: Tensor) -> Tensor:
    """Unit coordinates (x, y) of pixel centres, ``[size size 2]``."""
    axis = _axis(size, like)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1)


def point_weights(points: Tensor, size: int, window: Window = WHOLE) -> Tensor:
    """How much each of the points ``[b 29 2]`` (crop fractions) moves each pixel: ``[b 29 size size]``, sum < 1.

    ``window``: of the rows and columns that are wanted.
    """
    sigma = points.new_full((points.shape[1], 1), LIP_SIGMA)
    sigma[JAW_LINE] = JAW_SIGMA
    weights = _bells(points, size, sigma, window)
    return weights / (weights.sum(1, keepdim=True) + BACKGROUND)


def displacement(weights: Tensor, points: Tensor, reference_points: Tensor) -> Tensor:
    """Where to look in each reference, relative to the pixel: ``[b k 2 size size]`` in crop fractions.

    ``weights`` from ``point_weights`` of the target ``points`` ``[b 29 2]``; references ``[b k 29 2]``.
    """
    shift = reference_points - points[:, None]
    return torch.einsum("bphw,bkpc->bkchw", weights, shift)


def squared_lip_distance(points: Tensor, others: Tensor) -> Tensor:
    """Mean square distance ``[...]`` between the lips of ``[... 29 2]`` and ``[... 29 2]``, which broadcast.

    Squared, because a root has no gradient where lips are the same.
    """
    lips = slice(0, len(LIPS))
    return (others[..., lips, :] - points[..., lips, :]).square().sum(-1).mean(-1)


def select_nearest(
    points: Tensor, reference_points: Tensor, count: int, penalty: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """Which of n references ``[b n 29 2]`` have lips most like ``points`` ``[b 29 2]``, and how much each counts.

    Indices and weights ``[b k]``, nearest first, k = min(count, n); weights sum to one. They fall with the distance
    and reach (almost) nothing where the next reference is as near, so that lips which move on never make the
    picture jump when one takes another's place. ``penalty`` ``[b n]`` is added to the squared distances.
    """
    squared = squared_lip_distance(points[:, None], reference_points) + penalty
    ordered, order = squared.sort(dim=1, stable=True)
    pulls = torch.exp(-0.5 * (ordered - ordered[:, :1]) / NEAR_SIGMA**2)
    weights = pulls[:, :count]
    if pulls.shape[1] > count:
        weights = weights - pulls[:, count : count + 1]
    weights = weights.clamp(min=LEAST_SHARE)
    return order[:, :count], weights / weights.sum(1, keepdim=True)


def heat_maps(points: Tensor, size: int, window: Window = WHOLE) -> Tensor:
    """Soft drawings of outer lips, inner lips and jaw, ``[b 3 size size]`` in [0, 1], or a ``window`` of them."""
    heat = _bells(points, size, points.new_tensor(HEAT_SIGMA), window)
    return torch.stack([heat[:, part].amax(1) for part in (OUTER_LIPS, INNER_LIPS, JAW_LINE)], 1)


def lip_density(points: Tensor, size: int, window: Window = WHOLE) -> Tensor:
    """How densely points ``[b n 2]`` lie around each pixel, ``[b 1 size size]``: about 1 at a single one."""
    return _bells(points, size, points.new_tensor(DENSITY_SIGMA), window).sum(1, keepdim=True)


def _bells(points: Tensor, size: int, sigma: Tensor, window: Window) -> Tensor:
    """``exp(−½ d²/σ²)`` of each pixel's distance d to each point, as the product of its two axes'."""
    along = torch.exp(-0.5 * ((_axis(size, points) - points[..., None]) / sigma[..., None]) ** 2)
    return along[:, :, 1, window[0], None] * along[:, :, 0, None, window[1]]


def _axis(size: int, like: Tensor) -> Tensor:
    return (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / size
