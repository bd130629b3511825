"""Similarity transforms and warps between a frame and a face crop. Pure functions, float64 matrices, no I/O.

Coordinates are pixel centres: the centre of the top-left pixel is (0, 0). An affine matrix is ``[2 3]`` and
maps column vectors ``(x, y, 1)``.
"""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import Float32, RgbView, UInt8

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


def similarity_from_points(source: npt.ArrayLike, target: npt.ArrayLike) -> Array:
    """Least-squares similarity (rotation, uniform scale, translation) that maps ``source`` onto ``target``.

    Both are ``[n 2]`` with n ≥ 2. Closed form of Umeyama (1991), "Least-squares estimation of transformation
    parameters between two point patterns", without reflection. Raises ValueError for coincident points.
    """
    src, dst = np.asarray(source, np.float64), np.asarray(target, np.float64)
    src_mean, dst_mean = src.mean(0), dst.mean(0)
    p, q = src - src_mean, dst - dst_mean
    norm = float((p * p).sum())
    if norm < 1e-12:
        raise ValueError("the source points coincide, so no similarity maps them")
    # In 2-D the optimum is one complex number: a = Σ conj(p)·q / Σ|p|².
    a = float((p * q).sum()) / norm
    b = float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / norm
    linear = np.array([[a, -b], [b, a]])
    return np.column_stack([linear, dst_mean - linear @ src_mean])


def invert_affine(matrix: npt.ArrayLike) -> Array:
    """Inverse of an affine ``[2 3]`` matrix, as ``[2 3]``."""
    m = np.asarray(matrix, np.float64)
    linear = np.linalg.inv(m[:, :2])
    return np.column_stack([linear, -linear @ m[:, 2]])


def compose_affine(outer: npt.ArrayLike, inner: npt.ArrayLike) -> Array:
    """The map "first ``inner``, then ``outer``", both ``[2 3]``."""
    a, b = np.asarray(outer, np.float64), np.asarray(inner, np.float64)
    return np.column_stack([a[:, :2] @ b[:, :2], a[:, :2] @ b[:, 2] + a[:, 2]])


def transform_points(matrix: npt.ArrayLike, points: npt.ArrayLike) -> Array:
    """Apply an affine ``[2 3]`` matrix to points ``[... 2]``."""
    m = np.asarray(matrix, np.float64)
    return np.asarray(np.asarray(points, np.float64) @ m[:, :2].T + m[:, 2], np.float64)


def affine_scale(matrix: npt.ArrayLike) -> float:
    """Linear magnification of an affine map: the square root of its area factor."""
    m = np.asarray(matrix, np.float64)
    return float(np.sqrt(abs(np.linalg.det(m[:, :2]))))


def warp_to_crop(image: Image, matrix: npt.ArrayLike, size: int) -> Image:
    """Sample a ``[size size c]`` crop from ``image`` through the frame→crop ``matrix``.

    Bilinear with sub-pixel weights; pixels outside the frame repeat its border. When the crop is less than
    half as large as the face, the frame is area-averaged first, since bilinear sampling alone would alias and
    make a still face shimmer. The dtype is kept.
    """
    m = np.asarray(matrix, np.float64)
    factor = _whole_shrinkage(m)
    if factor >= 2:
        image, m = _area_reduce(image, m, size, factor)
    return _image(cv2.warpAffine(image, m, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def cut_from(picture: UInt8 | RgbView, matrix: npt.ArrayLike, size: int) -> UInt8:
    """``warp_to_crop`` of a picture, of which no more is looked at than the crop shows."""
    m = np.asarray(matrix, np.float64)
    if isinstance(picture, np.ndarray):
        return np.ascontiguousarray(cast(UInt8, warp_to_crop(picture, m, size)))
    step = _whole_shrinkage(m)
    corners = transform_points(invert_affine(m), [[0, 0], [size, 0], [0, size], [size, size]])
    low, high = np.floor(corners.min(0)).astype(int) - 2 * step, np.ceil(corners.max(0)).astype(int) + 2 * step
    part, x, y = picture.around((int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1), step)
    return np.ascontiguousarray(cast(UInt8, warp_to_crop(part, compose_affine(m, [[1, 0, x], [0, 1, y]]), size)))


def _whole_shrinkage(matrix: Array) -> int:
    """By how much, in whole numbers, a map makes pictures smaller; at least 1."""
    return max(1, int(1.0 / max(affine_scale(matrix), 1e-6)))


def _image(value: Any) -> Image:
    """OpenCV's stubs forget that a warp keeps the dtype it was given."""
    return cast(Image, value)


def _area_reduce(image: Image, matrix: Array, size: int, factor: int) -> tuple[Image, Array]:
    """Cut the part of ``image`` that the crop reads and shrink it by the integer ``factor``."""
    height, width = image.shape[:2]
    corners = transform_points(invert_affine(matrix), [[0, 0], [size, 0], [0, size], [size, size]])
    low = np.floor(corners.min(0)).astype(int) - 2 * factor
    high = np.ceil(corners.max(0)).astype(int) + 2 * factor
    x0, y0 = (int(v) // factor * factor for v in np.clip(low, 0, [max(width - 1, 0), max(height - 1, 0)]))
    x1, y1 = (int(v) for v in np.clip(high, [x0 + 1, y0 + 1], [width, height]))
    region = image[y0:y1, x0:x1]
    out_w, out_h = -(-region.shape[1] // factor), -(-region.shape[0] // factor)
    pad_w, pad_h = out_w * factor - region.shape[1], out_h * factor - region.shape[0]
    if pad_w or pad_h:
        region = _image(cv2.copyMakeBorder(region, 0, pad_h, 0, pad_w, cv2.BORDER_REPLICATE))
    small = _image(cv2.resize(region, (out_w, out_h), interpolation=cv2.INTER_AREA))
    # Pixel i of the small image covers frame pixels x0 + i·factor … + factor − 1, centred at + (factor − 1)/2.
    offset = (factor - 1) / 2
    to_frame = np.array([[factor, 0, x0 + offset], [0, factor, y0 + offset]], np.float64)
    return small, compose_affine(matrix, to_frame)


def of_each_channel(weights: Float32) -> Float32:
    """Weights ``[h w]`` once for each channel, ``[h w 3]``: far quicker to multiply with than what broadcasts."""
    return np.asarray(cv2.cvtColor(weights, cv2.COLOR_GRAY2BGR), np.float32)
