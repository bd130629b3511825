"""The soft mask through which a generated crop replaces the picture.

It lies inside the region that may be generated and ends at the sides of the face. Below, it ends close under the
lower of two chins, the picture's and the generated one, so that both are covered and collars stay the picture's own.
Where the generated chin is not known the lower edge is fixed, low enough for a wide-open mouth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.landmarks68 import JAW
from lipsync_cli.core.mouth_region import LOWER_FACE_REGION, Region, region_depth, unit_grid
from lipsync_cli.core.types import Float32, Float64

FEATHER = 0.075
"""Width of the soft edge in crop widths: as soft as a short upper lip, close below the nose, allows."""
SIDE_MARGIN = 0.15
"""How far beyond the outline of the face the mask reaches, in half widths of the region."""
KERNEL_PX = 2.0
"""The mask ends this many crop pixels inside the region, so that cubic sampling never reads beyond it."""
LEFT_SIDE, RIGHT_SIDE = (1, 2, 3, 4), (15, 14, 13, 12)
LEFT_CHIN, RIGHT_CHIN = (5, 6, 7), (11, 10, 9)
DROPPED_CHIN_ROWS = np.array([0.25, 0.67, 1.1])
"""The rows of the chin's points when the mouth is wide open, in half heights of the region below its centre. Only
their columns are taken from the landmarks: speech moves them up and down but hardly sideways."""
CORNER_SPREAD = 0.04
LOWER_SHARE = 0.6
"""Width of the soft edge below the chin against that at the sides: a collar may begin right below it."""
CHIN_MARGIN = 0.012
"""What landmarks may be off by, in crop widths: so much below the chin is still the generator's."""
JAW_SPREAD = 1.25
"""The chin's line is widened by this, so that beside the chin the sides of the face decide."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Lines between which the mask lies, over the window of a region; everything in crop widths.

    ``x`` ``[w]`` and ``y`` ``[h]`` are the window's pixel centres; ``left`` and ``right`` ``[h]`` the columns where
    the face ends; ``chin`` ``[w]`` the row, None for no lower line but the region's; ``slant`` ``[w]`` is how much
    longer than its rows the way to that line is, against the soft edge it has there.
    """

    x: Float64
    y: Float64
    left: Float64
    right: Float64
    chin: Float64 | None
    slant: Float64


def blend_mask(
    landmarks: npt.ArrayLike,
    size: int,
    *,
    feather: float = FEATHER,
    region: Region = LOWER_FACE_REGION,
    generated_jaw: Float64 | None = None,
) -> Float32:
    """Weights ``[size size]`` in [0, 1] from 68 landmarks ``[68 2]`` of the picture in crop pixels.

    ``generated_jaw`` ``[9 2]`` is where landmarks 4 … 12 are in what will be shown. Exactly 0 on and outside the
    border of ``region``; 1 deeper than ``feather`` crop widths inside the outline. Raises ValueError for landmarks
    that are not finite or a feather that is not positive.
    """
    mask = np.zeros((size, size), np.float32)
    outline = face_outline(landmarks, size, feather=feather, region=region, generated_jaw=generated_jaw)
    mask[region.window(size)] = mask_within(outline, size, feather, region)
    return mask


def mask_within(outline: Outline, size: int, feather: float, region: Region) -> Float32:
    """``blend_mask`` over the window of ``region``, ``[h w]``, inside an outline found there."""
    lines = (outline.x, outline.left[:, None], outline.right[:, None])
    x, left, right = (np.asarray(line, np.float32) for line in lines)
    depth = np.minimum(x - left, right - x)
    if outline.chin is not None:
        chin, y, slant = (np.asarray(line, np.float32) for line in (outline.chin, outline.y, outline.slant))
        np.minimum(depth, (chin - y[:, None]) / slant, out=depth)
    np.minimum(depth, inner_depth(size, region), out=depth)
    depth /= np.float32(feather)
    return smoothstep(depth)


def face_outline(
    landmarks: npt.ArrayLike, size: int, *, feather: float, region: Region, generated_jaw: Float64 | None
) -> Outline:
    """The outline behind ``blend_mask``, whose arguments and errors these are."""
    points = (np.asarray(landmarks, np.float64) + 0.5) / size
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"the mask needs 68 finite landmarks, got an array of shape {points.shape}")
    if feather <= 0:
        raise ValueError(f"the feather is a positive share of the crop, got {feather}")
    rows, columns = region.window(size)
    x, y = unit_grid(size)[columns], unit_grid(size)[rows]
    left, right = _sides(points, region, y)
    if generated_jaw is None:
        return Outline(x, y, left, right, None, np.ones(len(x)))
    jaws = points[list(JAW)], (np.asarray(generated_jaw, np.float64) + 0.5) / size
    chin = _chin(jaws, x, LOWER_SHARE * feather)
    return Outline(x, y, left, right, chin, LOWER_SHARE * np.hypot(1.0, np.gradient(chin, x)))


def inner_depth(size: int, region: Region) -> Float32:
    """How far inside ``region`` the pixels of its window are, less the margin of the sampling, in crop widths."""
    return np.asarray(region_depth(size, region)[region.window(size)] - np.float32(KERNEL_PX / size))


def smoothstep(value: Float32) -> Float32:
    """Cubic ramp with flat ends: 0 below 0, 1 above 1."""
    t = np.clip(value, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _sides(points: Float64, region: Region, y: Float64) -> tuple[Float64, Float64]:
    """The columns ``[y]`` between which the mask may lie: the sides of the face and a margin."""
    margin = SIDE_MARGIN * region.half_size[0]
    chin_rows = region.centre[1] + region.half_size[1] * DROPPED_CHIN_ROWS
    left = _side(points[list(LEFT_SIDE)], points[list(LEFT_CHIN), 0], chin_rows, y) - margin
    right = _side(points[list(RIGHT_SIDE)], points[list(RIGHT_CHIN), 0], chin_rows, y) + margin
    return left, right


def _chin(jaws: tuple[Float64, Float64], x: Float64, feather: float) -> Float64:
    """The row ``[x]`` of a line close under both ``jaws`` ``[9 2]``.

    The line is ``feather`` and a margin below the lower chin, so that the mask is whole down to there.
    """
    lines = [np.interp(x, np.maximum.accumulate(_widened(jaw[:, 0])), jaw[:, 1]) for jaw in jaws]
    # Three shifted copies round the corners between landmarks and where the two chins cross.
    lower = np.maximum(*lines) + feather + CHIN_MARGIN
    reach = round(CORNER_SPREAD * len(x) / (x[-1] - x[0]))
    at, last = np.arange(len(x)), len(x) - 1
    return np.asarray((lower[np.maximum(at - reach, 0)] + lower + lower[np.minimum(at + reach, last)]) / 3)


def _widened(columns: Float64) -> Float64:
    """Columns of a jaw's points spread around the chin's."""
    return np.asarray(columns[4] + JAW_SPREAD * (columns - columns[4]))


def _side(jaw: Float64, chin: Float64, chin_rows: Float64, rows: Float64) -> Float64:
    """The column ``[rows]`` where one side of the face ends: down the jaw, then along a wide-open mouth's chin."""
    y = np.maximum.accumulate(np.append(jaw[:, 1], chin_rows)) + np.arange(7) * 1e-9
    x = np.append(jaw[:, 0], chin)
    # Three shifted copies round the corners, so that the outline has no kinks to catch the eye.
    shifted = np.interp(rows + np.array([[-CORNER_SPREAD], [0.0], [CORNER_SPREAD]]), y, x)
    return np.asarray(shifted.sum(0) / 3)
