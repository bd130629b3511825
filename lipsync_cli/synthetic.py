"""A drawn head and a voice-like tone: something to dub where no recording may be used or shipped."""

from __future__ import annotations

import wave
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import Float64, UInt8
from lipsync_cli.faces.mean_face import MEAN_FACE

Color = tuple[int, int, int]
Int16 = npt.NDArray[np.int16]

WALL: Color = (120, 130, 140)
HAIR: Color = (50, 40, 35)
SKIN: Color = (214, 176, 150)
SHADE: Color = (176, 140, 118)
NOSTRIL: Color = (150, 108, 90)
LIPS: Color = (170, 90, 85)
MOUTH: Color = (60, 25, 25)
EYEBALL: Color = (240, 238, 235)
PUPIL: Color = (40, 30, 25)
BROW: Color = (60, 45, 38)

SUBPIXEL = 4
LOWER_LIP = [55, 56, 57, 58, 59, 65, 66, 67]


def draw_head(
    width: int = 480, height: int = 360, *, openness: float = 0.0, center: tuple[float, float] = (0.5, 0.45)
) -> UInt8:
    """A frontal face that detectors find, RGB uint8 ``[height width 3]``.

    ``openness`` lowers the lower lip, in face widths (0 … 0.15); ``center`` places the face, in picture sizes.
    """
    size = 0.42 * height
    points = _place(size, center[0] * width, center[1] * height)
    picture = np.full((height, width, 3), WALL, dtype=np.uint8)
    _draw_shape(picture, points, size)
    picture = _soft(picture, 0.02 * size)
    _draw_shadows(picture, points, size)
    picture = _soft(picture, 0.02 * size)
    _draw_eyes(picture, points, size)
    _draw_mouth(picture, points + openness * size * np.isin(np.arange(68), LOWER_LIP)[:, None] * (0.0, 1.0))
    return _soft(picture, 0.006 * size)


def voice(seconds: float, *, sample_rate: int = 16_000) -> Int16:
    """A buzz that swells and fades three times a second, with a pause at both ends, int16 ``[samples]``."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 12))
    loud = np.sin(np.pi * 3 * t) ** 2 * np.clip(10 * np.minimum(t - 0.25, seconds - 0.25 - t), 0, 1)
    return np.asarray(8000 * loud * buzz, dtype=np.int16)


def write_voice(path: Path, seconds: float, *, sample_rate: int = 16_000) -> None:
    """``voice`` as a mono WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(voice(seconds, sample_rate=sample_rate).astype("<i2").tobytes())


def _place(size: float, x: float, y: float) -> Float64:
    flat = MEAN_FACE[:, :2] - MEAN_FACE[27:48, :2].mean(axis=0)
    return np.asarray(flat * size + (x, y), dtype=np.float64)


def _draw_shape(picture: UInt8, points: Float64, size: float) -> None:
    x, y = points[27:36].mean(axis=0)
    _oval(picture, x, y - 0.18 * size, 0.60 * size, 0.72 * size, HAIR)
    neck = [(x - 0.25 * size, y + 0.4 * size), (x + 0.25 * size, y + 0.4 * size)]
    _fill(picture, [*neck, (x + 0.25 * size, y + 3 * size), (x - 0.25 * size, y + 3 * size)], SHADE)
    _oval(picture, x, y - 0.05 * size, 0.50 * size, 0.68 * size, SKIN)


def _draw_shadows(picture: UInt8, points: Float64, size: float) -> None:
    for eye in (points[36:42], points[42:48]):
        x, y = eye.mean(axis=0)
        _oval(picture, x, y - 0.02 * size, 0.15 * size, 0.10 * size, SHADE)
    _fill(picture, [points[27], points[31] - (0.03 * size, 0), points[33] + (0, 0.02 * size), points[30]], SHADE)
    _oval(picture, points[33][0], points[33][1] + 0.01 * size, 0.11 * size, 0.035 * size, NOSTRIL)


def _draw_eyes(picture: UInt8, points: Float64, size: float) -> None:
    for eye in (points[36:42], points[42:48]):
        _fill(picture, eye, EYEBALL)
        x, y = eye.mean(axis=0)
        _oval(picture, x, y, 0.035 * size, 0.035 * size, PUPIL)
        _line(picture, eye[:4], PUPIL, 0.02 * size)
    for brow in (points[17:22], points[22:27]):
        _line(picture, brow, BROW, 0.045 * size)


def _draw_mouth(picture: UInt8, points: Float64) -> None:
    _fill(picture, points[48:60], LIPS)
    _fill(picture, points[60:68], MOUTH)


def _fixed(points: object) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Coordinates in the fixed-point form by which OpenCV draws between pixels."""
    return np.asarray(np.round(np.asarray(points) * (1 << SUBPIXEL)), dtype=np.int32)


def _fill(picture: UInt8, points: object, color: Color) -> None:
    cv2.fillPoly(picture, [_fixed(points)], color, cv2.LINE_AA, SUBPIXEL)


def _line(picture: UInt8, points: object, color: Color, width: float) -> None:
    cv2.polylines(picture, [_fixed(points)], False, color, max(1, round(width)), cv2.LINE_AA, SUBPIXEL)


def _oval(picture: UInt8, x: float, y: float, half_width: float, half_height: float, color: Color) -> None:
    center, axes = _fixed((x, y)), _fixed((half_width, half_height))
    cv2.ellipse(picture, center.tolist(), axes.tolist(), 0, 0, 360, color, -1, cv2.LINE_AA, SUBPIXEL)


def _soft(picture: UInt8, sigma: float) -> UInt8:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(0.1, sigma)), dtype=np.uint8)
