"""What cameras, codecs and hands do to pictures, done to training samples of the renderer.

A sample is several pictures of one video, so all of them are turned, blurred or compressed alike; only what stands in
front of a face stands in front of one picture of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.core.landmarks68 import JAW
from lipsync_cli.core.types import Float32, UInt8

TURN, SCALE, STRETCH = 5.0, 0.06, 0.05
"""Largest turn in degrees, and largest change of size and of height against width."""
BLUR = (0.0015, 0.006)
"""Standard deviations of a blur, in crop widths."""
KEPT = (0.35, 0.8)
"""How much of its width a picture keeps that is brought back to full size from a smaller one."""
QUALITY = (35, 85)
"""JPEG qualities: what is lost is as in a video's own key frames."""
THING = (0.08, 0.22)
"""Half axes of what stands in front, in crop widths."""
LIP_CLEARANCE = 0.03
"""Crop widths around the lips that nothing covers in a picture to be drawn, or its state could not be read."""


@dataclass(frozen=True, slots=True)
class AugmentRecipe:
    """Shares of the samples that are ``shaped`` (turned, scaled, stretched), ``degraded``, ``covered`` in part."""

    shaped: float = 0.3
    degraded: float = 0.3
    covered: float = 0.2


@dataclass(slots=True)
class Pictures:
    """Crops ``[n s s 3]``, landmarks ``[n 68 2]`` in their pixels; ``real`` ``[n s s]`` is 1 where a crop is true."""

    crops: UInt8
    landmarks: Float32
    real: Float32


def augment(pictures: Pictures, targets: int, recipe: AugmentRecipe, rng: np.random.Generator) -> Pictures:
    """Change a sample whose first ``targets`` pictures are to be drawn and whose others are references."""
    shaped, degraded, covered = rng.random(3) < (recipe.shaped, recipe.degraded, recipe.covered)
    if shaped:
        pictures = reshape(pictures, rng)
    if covered:
        cover(pictures, targets, rng)
    if degraded:
        pictures.crops = degrade(pictures.crops, rng)
    return pictures


def reshape(pictures: Pictures, rng: np.random.Generator) -> Pictures:
    """All pictures turned, scaled and stretched alike about their middle, as another face or another cut is."""
    size = pictures.crops.shape[1]
    middle = (size - 1) / 2
    turn = np.deg2rad(rng.uniform(-TURN, TURN))
    scale, stretch = 1 + rng.uniform(-SCALE, SCALE), 1 + rng.uniform(-STRETCH, STRETCH)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation @ np.diag([scale, scale * stretch])
    matrix = np.hstack([linear, (middle - linear @ [middle, middle])[:, None]])
    crops = [cv2.warpAffine(c, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE) for c in pictures.crops]
    real = [cv2.warpAffine(r, matrix, (size, size), flags=cv2.INTER_NEAREST) for r in pictures.real]
    landmarks = pictures.landmarks @ linear.T + matrix[:, 2]
    return Pictures(np.stack(crops), landmarks.astype(np.float32), np.stack(real))


def degrade(crops: UInt8, rng: np.random.Generator) -> UInt8:
    """Blur, loss of resolution or JPEG compression of all crops ``[n s s 3]`` alike; often two of them."""
    size = crops.shape[1]
    sigma = size * rng.uniform(*BLUR)
    small = round(size * rng.uniform(*KEPT))
    quality = int(rng.integers(*QUALITY))
    blurred, resampled, compressed = rng.random(3) < 0.5
    changed = []
    for crop in crops:
        if blurred:
            crop = cv2.GaussianBlur(crop, (0, 0), sigma)
        if resampled:
            shrunk = cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA)
            crop = cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)
        if compressed:
            data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            crop = cv2.imdecode(data, cv2.IMREAD_COLOR)
        changed.append(crop)
    return np.stack(changed)


def cover(pictures: Pictures, targets: int, rng: np.random.Generator) -> None:
    """Something in front of the lower face of one picture.

    In a reference it may cover the lips. In a picture to be drawn it leaves them free, and what it covers is not
    ``real``: nobody could draw it.
    """
    crops, at = pictures.crops, int(rng.integers(0, len(pictures.crops)))
    drawn = at < targets
    lips, jaw = pictures.landmarks[at, 48:68], pictures.landmarks[at, list(JAW)]
    middle = jaw[rng.integers(len(jaw))] if drawn else lips.mean(0)
    size = crops.shape[1]
    alpha = blob(size, middle + rng.normal(0, 0.05 * size, 2), rng)
    if drawn:
        alpha[around(lips, size)] = 0
        pictures.real[at] *= alpha < 0.02
    # Its own hair, brow or background, upside down and in other colours: no flat patch that is told at a glance.
    texture = crops[at, ::-1] * rng.uniform(0.4, 1.3, 3) * rng.uniform(0.5, 1.1)
    mixed = crops[at] + alpha[..., None] * (np.minimum(texture, 255) - crops[at])
    crops[at] = np.round(mixed).astype(np.uint8)


def blob(size: int, middle: Float32, rng: np.random.Generator) -> Float32:
    """How much of each pixel ``[size size]`` an ellipse with a soft edge covers, in [0, 1]."""
    axes, angle = size * rng.uniform(*THING, 2), rng.uniform(0, 180)
    alpha = np.zeros((size, size), np.float32)
    box = (tuple(map(float, middle)), tuple(map(float, 2 * axes)), float(angle))
    cv2.ellipse(alpha, box, 1.0, cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), size * rng.uniform(0.003, 0.012)), np.float32)


def around(points: Float32, size: int) -> npt.NDArray[np.bool_]:
    """Where pixels ``[size size]`` lie within the outline of ``[n 2]`` points or close to it, as booleans."""
    filled = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    reach = 2 * round(LIP_CLEARANCE * size) + 1
    return np.asarray(cv2.dilate(filled, np.ones((reach, reach), np.uint8)) > 0)
