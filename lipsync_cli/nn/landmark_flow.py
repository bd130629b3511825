"""Displacements and maps from face points: where a mouth state says lips and jaw are, spread over the crop.

This is the renderer's prior. A reference moves towards the target state by the difference of the two states'
points, so that a network that has learned nothing yet already opens and closes the mouth.
"""

from __future__ import annotations

import torch
from torch import Tensor

JAW = range(4, 13)
LIPS = range(48, 68)
POINTS = (*LIPS, *JAW)
"""Indices into the 68 landmarks, in the order networks use: outer lips 12, inner lips 8, jaw 9."""
OUTER_LIPS, INNER_LIPS, JAW_LINE = slice(0, 12), slice(12, 20), slice(20, 29)

# Reach of a point in crop widths, and the pull of the resting background against them.
LIP_SIGMA, JAW_SIGMA, BACKGROUND = 0.045, 0.11, 0.15
HEAT_SIGMA = 0.03
# Root mean square lip difference, in crop widths, at which a reference counts for e^-½ as much.
NEAR_SIGMA = 0.010


def pixel_centres(size: int, like: Tensor) -> Tensor:
    """Unit coordinates (x, y) of pixel centres, ``[size size 2]``."""
    axis = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / size
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1)


def point_weights(points: Tensor, size: int) -> Tensor:
    """How much each of the points ``[b 29 2]`` (crop fractions) moves each pixel: ``[b 29 size size]``, sum < 1."""
    squared = (pixel_centres(size, points)[None, None] - points[:, :, None, None]).pow(2).sum(-1)
    sigma = points.new_full((points.shape[1], 1, 1), LIP_SIGMA)
    sigma[JAW_LINE] = JAW_SIGMA
    weights = torch.exp(-0.5 * squared / sigma**2)
    return weights / (weights.sum(1, keepdim=True) + BACKGROUND)


def displacement(weights: Tensor, points: Tensor, reference_points: Tensor) -> Tensor:
    """Where to look in each reference, relative to the pixel: ``[b k 2 size size]`` in crop fractions.

    ``weights`` from ``point_weights`` of the target ``points`` ``[b 29 2]``; references ``[b k 29 2]``.
    """
    shift = reference_points - points[:, None]
    return torch.einsum("bphw,bkpc->bkchw", weights, shift)


def nearness(points: Tensor, reference_points: Tensor) -> Tensor:
    """Log-weights ``[b k]`` of references by how little their lips differ from ``points`` ``[b 29 2]``."""
    lips = slice(0, len(LIPS))
    squared = (reference_points[:, :, lips] - points[:, None, lips]).pow(2).sum(-1).mean(-1)
    return -0.5 * squared / NEAR_SIGMA**2


def heat_maps(points: Tensor, size: int) -> Tensor:
    """Soft drawings of outer lips, inner lips and jaw, ``[b 3 size size]`` in [0, 1]."""
    squared = (pixel_centres(size, points)[None, None] - points[:, :, None, None]).pow(2).sum(-1)
    heat = torch.exp(-0.5 * squared / HEAT_SIGMA**2)
    return torch.stack([heat[:, part].amax(1) for part in (OUTER_LIPS, INNER_LIPS, JAW_LINE)], 1)
