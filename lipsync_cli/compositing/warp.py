"""Sampling crop-space layers at the sample positions of a picture's planes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lipsync_cli.core.geometry import compose_affine, invert_affine, transform_points
from lipsync_cli.core.types import Float32, Float64

MAX_OVERSAMPLING = 16


@dataclass(frozen=True, slots=True)
class PatchWindow:
    """Rows ``y0 … y1`` and columns ``x0 … x1`` (ends excluded) of a plane."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def empty(self) -> bool:
        """Whether it holds no sample."""
        return self.x1 <= self.x0 or self.y1 <= self.y0

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing a plane ``[h w]``."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


def covering_window(to_crop: Float64, crop_shape: tuple[int, int], plane_shape: tuple[int, int]) -> PatchWindow:
    """The samples of a plane that a crop of ``crop_shape`` can reach, by its plane→crop matrix; may be empty."""
    rows, columns = crop_shape
    corners = np.array([[-0.5, -0.5], [columns - 0.5, -0.5], [-0.5, rows - 0.5], [columns - 0.5, rows - 0.5]])
    placed = transform_points(invert_affine(to_crop), corners)
    limit = np.array([plane_shape[1], plane_shape[0]])
    x0, y0 = np.clip(np.floor(placed.min(0)), 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(placed.max(0)) + 1, 0, limit).astype(int)
    return PatchWindow(int(x0), int(y0), int(x1), int(y1))


def sample_layer(layer: Float32, to_crop: Float64, window: PatchWindow) -> Float32:
    """Values of crop layers ``[h w]`` or ``[h w c]``, c ≤ 4, at the samples of ``window``; 0 beyond the crop.

    Cubic where the crop is enlarged. Where it shrinks, each sample is the mean over its own area, by sampling
    more finely (then bilinear will do) along the plane's axes first, so that neither a small face nor subsampled
    chroma shimmers.
    """
    across, down = oversampling(to_crop)
    width, height = window.x1 - window.x0, window.y1 - window.y0
    # Sample i of the finer grid sits at (i + ½) / k − ½ of the plane's.
    x = [1 / across, 0.0, window.x0 + 0.5 / across - 0.5]
    y = [0.0, 1 / down, window.y0 + 0.5 / down - 0.5]
    matrix = compose_affine(to_crop, np.array([x, y]))
    shrinks = across > 1 or down > 1
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_LINEAR if shrinks else cv2.INTER_CUBIC)
    fine = cv2.warpAffine(layer, matrix, (width * across, height * down), flags=flags)
    if shrinks:
        fine = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(fine, np.float32)


def oversampling(to_crop: Float64) -> tuple[int, int]:
    """Sub-samples per sample along a plane's rows and columns; a little aliasing is tolerated."""
    steps = np.linalg.norm(to_crop[:, :2], axis=0)
    across, down = np.clip(np.ceil(steps - 0.2), 1, MAX_OVERSAMPLING).astype(int)
    return int(across), int(down)
