"""Synthetic pictures with a face-shaped set of landmarks, for the compositor's tests."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from lipsync_cli.compositing.colorspace import chroma_siting, planes_from_rgb
from lipsync_cli.compositing.compositor import touched_region
from lipsync_cli.core.geometry import compose_affine, warp_to_crop
from lipsync_cli.core.pixel_formats import pixel_format
from lipsync_cli.core.types import (
    Alignment,
    ColorInfo,
    Crop,
    Float32,
    Float64,
    Frame,
    GeneratedCrop,
    Patch,
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
