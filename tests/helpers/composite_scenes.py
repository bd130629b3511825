"""Synthetic pictures with a face-shaped set of landmarks, for the compositor's tests."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.compositing.colorspace import chroma_siting, rgb_to_planes, to_codes
from lipsync_cli.compositing.warp import covering_window
from lipsync_cli.core.geometry import compose_affine, transform_points, warp_to_crop
from lipsync_cli.core.mouth_region import LOWER_FACE_REGION, Region
from lipsync_cli.core.pixel_formats import PixelFormat, Siting, pixel_format
from lipsync_cli.core.types import (
    Alignment,
    ColorInfo,
    Crop,
    Float32,
    Float64,
    Frame,
    GeneratedCrop,
    Patch,
    Plane,
    VideoInfo,
)

FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "gray", "gray10le", "gbrp")
SIDE = [
    (0.14, 0.10),
    (0.14, 0.22),
    (0.15, 0.35),
    (0.17, 0.47),
    (0.20, 0.58),
    (0.25, 0.67),
    (0.32, 0.75),
    (0.41, 0.79),
]
JAW_POINTS = [*SIDE, (0.50, 0.80), *((1 - x, y) for x, y in reversed(SIDE))]

ORIENTED = [
    {},
    {"rotation": 90},
    {"rotation": 180},
    {"rotation": 270, "sample_aspect_ratio": Fraction(4, 3)},
    {"sample_aspect_ratio": Fraction(16, 11)},
]


def landmarks(size: int) -> Float64:
    """68 crop-space points; only the jaw is meaningful, since nothing else shapes the mask."""
    rest = np.tile([0.5, 0.5], (51, 1))
    return np.concatenate([np.array(JAW_POINTS), rest]) * size - 0.5


def video(pix_fmt: str = "yuv420p", width: int = 320, height: int = 240, **changes: object) -> VideoInfo:
    fmt = pixel_format(pix_fmt)
    color = ColorInfo(matrix="rgb" if fmt.family == "gbr" else "bt709", full_range=fmt.full_range)
    values: dict[str, object] = {"color": color, **changes}
    return VideoInfo(
        0,
        "h264",
        width,
        height,
        pix_fmt,
        fmt.depth,
        Fraction(1, 25),
        Fraction(25),
        Fraction(0),
        **values,  # type: ignore[arg-type]
    )


def smooth_rgb(width: int, height: int) -> Float32:
    """A picture of slow waves in [0.2, 0.8], different in each channel."""
    y, x = np.mgrid[0:height, 0:width] / 40.0
    waves = [np.sin(x + y), np.cos(x - 0.5 * y + 1), np.sin(0.7 * x + 1.3 * y + 2)]
    return (0.5 + 0.3 * np.stack(waves, -1)).astype(np.float32)


def codes_of(rgb: npt.ArrayLike, fmt: PixelFormat, color: ColorInfo) -> Float32:
    """Unrounded, unclipped code values ``[p h w]`` at full resolution for RGB ``[h w 3]`` in [0, 1]."""
    convert = rgb_to_planes(fmt, color)
    return np.asarray(np.moveaxis(np.asarray(rgb, np.float32) @ convert.linear.T + convert.offset, -1, 0))


def planes_from_rgb(
    rgb: npt.ArrayLike, fmt: PixelFormat, color: ColorInfo, siting: Siting = "center"
) -> tuple[Plane, ...]:
    """A whole RGB picture ``[h w 3]`` in [0, 1] as rounded planes of ``fmt``; edges repeat where chroma needs it."""
    full = codes_of(rgb, fmt, color)
    planes = [subsample(full[i], fmt.plane_shift(i), siting) for i in range(len(full))]
    return tuple(to_codes(plane, fmt) for plane in planes)


def subsample(plane: Float32, shift: tuple[int, int], siting: Siting = "center") -> Float32:
    """Average ``[h w]`` down by ``2**shift``: boxes for centred samples, [1 2 1] / 4 for left-sited columns."""
    sx, sy = 1 << shift[0], 1 << shift[1]
    height, width = plane.shape
    padded = np.asarray(np.pad(plane, ((0, -height % sy), (0, -width % sx)), mode="edge"), np.float32)
    if sx == 2 and siting == "left":
        smooth = np.array([[0.25, 0.5, 0.25]], np.float32)
        padded = np.asarray(cv2.filter2D(padded, -1, smooth, borderType=cv2.BORDER_REPLICATE), np.float32)
        padded = padded[:, ::2]
        sx = 1
    rows, columns = padded.shape[0] // sy, padded.shape[1] // sx
    return np.asarray(padded.reshape(rows, sy, columns, sx).mean((1, 3), dtype=np.float32))


def frame_of(info: VideoInfo, rgb: Float32, noise: int = 0, index: int = 0) -> Frame:
    """The picture as planes, with uniform noise of ±``noise`` code values."""
    fmt, rng = pixel_format(info.pix_fmt), np.random.default_rng(index)
    planes = [
        np.clip(p.astype(int) + rng.integers(-noise, noise + 1, p.shape), 0, fmt.peak).astype(fmt.dtype)
        for p in planes_from_rgb(rgb, fmt, info.color, chroma_siting(info.codec))
    ]
    return Frame(index, index, info.time_base, tuple(planes), info.pix_fmt)


def alignment(
    info: VideoInfo, size: int = 96, *, face: float = 120.0, angle: float = 0.1, at: tuple[float, float] | None = None
) -> Alignment:
    """A crop ``face`` display pixels wide, turned by ``angle`` radians, centred on ``at`` (default mid-picture)."""
    scale = size / face
    linear = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = np.array(at if at else [s / 2 for s in info.display_size])
    to_crop = np.column_stack([linear, np.array([(size - 1) / 2] * 2) - linear @ centre])
    return Alignment(compose_affine(to_crop, info.to_display), size)


def crop_of(rgb: Float32, placed: Alignment) -> Crop:
    """Cut as the pipeline cuts it, from the uint8 view."""
    view = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    cut = np.asarray(warp_to_crop(view, placed.matrix, placed.size), np.uint8)
    return Crop(cut, placed, landmarks(placed.size))


def unchanged(crop: Crop, weight: float = 1.0) -> Patch:
    return Patch(GeneratedCrop((crop.rgb / 255).astype(np.float32)), crop, weight)


def wild(patch: Patch, seed: int = 0) -> Patch:
    noise = np.random.default_rng(seed).random(patch.drawing.rgb.shape, np.float32)
    return replace(patch, drawing=GeneratedCrop(noise))


def assert_untouched_outside(info: VideoInfo, before: Frame, after: Frame, placed: Alignment) -> int:
    """Every changed sample lies in the touched region; returns how many changed."""
    region, fmt, changed = touched_region(info, placed), pixel_format(info.pix_fmt), 0
    for index, (old, new) in enumerate(zip(before.planes, after.planes, strict=True)):
        assert new.dtype == old.dtype and new.shape == old.shape and new.flags.c_contiguous
        sx, sy = fmt.plane_shift(index)
        rows, columns = np.nonzero(old != new)
        assert region[np.minimum(rows << sy, info.height - 1), np.minimum(columns << sx, info.width - 1)].all()
        changed += len(rows)
    return changed


def touched_region(
    info: VideoInfo, alignment: Alignment, region: Region = LOWER_FACE_REGION
) -> npt.NDArray[np.bool_]:
    """Storage pixels ``[height width]`` that blending a patch there may change; all others keep their bits.

    An upper bound: the mask is smaller where the face is. A pixel counts as changed when its chroma sample may be.
    """
    # Area sampling reaches half a sample beyond the border, and a chroma sample stands for its whole block, so the
    # region is widened by a block; also from just outside the picture.
    bx, by = (1 << shift for shift in pixel_format(info.pix_fmt).shift)
    inside = np.zeros((info.height + 2 * by, info.width + 2 * bx), np.uint8)
    to_crop = compose_affine(alignment.matrix, np.array([[1.0, 0, -bx], [0, 1, -by]]))
    window = covering_window(to_crop, (alignment.size, alignment.size), inside.shape)
    x, y = np.meshgrid(np.arange(window.x0, window.x1), np.arange(window.y0, window.y1))
    points = (transform_points(to_crop, np.stack([x, y], -1)) + 0.5) / alignment.size
    inside[window.slices] = region.radius(points[..., 0], points[..., 1]) < 1.0
    wide = cv2.dilate(inside, np.ones((2 * by + 1, 2 * bx + 1), np.uint8))
    return np.asarray(wide[by:-by, bx:-bx], np.bool_)
