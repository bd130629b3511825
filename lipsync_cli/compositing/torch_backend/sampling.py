"""Sampling crop-space layers at the sample positions of a picture's planes: ``compositing.warp`` with torch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lipsync_cli.compositing.warp import PatchWindow, oversampling
from lipsync_cli.core.geometry import compose_affine, invert_affine
from lipsync_cli.core.types import Float64


def sample_layers(layers: Tensor, to_crop: Float64, window: PatchWindow) -> Tensor:
    """Values ``[c h w]`` of crop layers ``[c rows columns]`` at the samples of ``window``; see ``sample_layer``.

    torch's bicubic kernel is OpenCV's (Keys, a = −0.75), and both let every tap beyond the crop count as 0.
    """
    across, down = oversampling(to_crop)
    height, width = window.y1 - window.y0, window.x1 - window.x0
    # Between outer edges at −1 and 1 the map is the same however finely the window is sampled.
    placed = compose_affine(to_crop, np.array([[1.0, 0, window.x0], [0, 1, window.y0]]))
    theta = compose_affine(
        _unit(layers.shape[2], layers.shape[1]), compose_affine(placed, invert_affine(_unit(width, height)))
    )
    grid = _grid(theta, width * across, height * down, layers.device)
    shrinks = across > 1 or down > 1
    mode = "bilinear" if shrinks else "bicubic"
    fine = F.grid_sample(layers[None], grid[None], mode=mode, padding_mode="zeros", align_corners=False)[0]
    return F.avg_pool2d(fine, (down, across)) if shrinks else fine


def _unit(width: int, height: int) -> Float64:
    """The map ``[2 3]`` from pixel centres to coordinates that are −1 and 1 at the outer edges."""
    return np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1]])


def _grid(theta: Float64, width: int, height: int, device: torch.device) -> Tensor:
    """Where ``[height width 2]`` the centres of so many pixels between −1 and 1 are mapped to."""
    # Not by affine_grid: its matrix product may run in a shorter format than places need.
    x = (2 * torch.arange(width, device=device) + 1) / width - 1
    y = (2 * torch.arange(height, device=device) + 1)[:, None] / height - 1
    return torch.stack([float(a) * x + float(b) * y + float(c) for a, b, c in theta], -1)
