"""Image augmentation of the renderer's samples: geometry, degradation and occlusion.

A sample is several pictures of one video, so all of them are turned, blurred or compressed alike; only an occlusion
is in one picture of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.core.landmarks68 import JAW
from lipsync_cli.core.types import Float32, UInt8
from lipsync_cli.training.common.recipes import Recipe, Share

TURN, SCALE, STRETCH = 5.0, 0.06, 0.05
"""Largest turn in degrees, and largest change of size and of height against width."""
BLUR = (0.0015, 0.006)
"""Standard deviations of a blur, in crop widths."""
DOWNSAMPLED = (0.35, 0.8)
"""Width, as a share of its own, that a picture is reduced to before it is enlarged again."""
QUALITY = (35, 85)
"""JPEG qualities: what is lost is as in a video's own key frames."""
OCCLUDER = (0.08, 0.22)
"""Half axes of what stands in front, in crop widths."""
LIP_CLEARANCE = 0.03
"""Crop widths around the lips that no occluder covers in a target, or its mouth state could not be encoded."""


class ImageAugmentRecipe(Recipe):
    """Probabilities that a sample is ``shaped`` (turned, scaled, stretched), ``degraded``, ``covered`` in part."""

    shaped: Share = 0.3
    degraded: Share = 0.3
    covered: Share = 0.2


@dataclass(slots=True)
class ImageSample:
    """Crops ``[n s s 3]``, landmarks ``[n 68 2]`` in their pixels.

    ``valid`` ``[n s s]`` is 1 where pixels are the source's own, 0 where they lie beyond it or are occluded.
    """

    crops: UInt8
    landmarks: Float32
    valid: Float32


def augment_images(
    sample: ImageSample, targets: int, recipe: ImageAugmentRecipe, rng: np.random.Generator
) -> ImageSample:
    """Change a sample whose first ``targets`` pictures are to be rendered and whose others are references."""
    shaped, degraded, covered = rng.random(3) < (recipe.shaped, recipe.degraded, recipe.covered)
    if shaped:
        sample = reshape(sample, rng)
    if covered:
        occlude(sample, targets, rng)
    if degraded:
        sample.crops = degrade(sample.crops, rng)
    return sample


def reshape(sample: ImageSample, rng: np.random.Generator) -> ImageSample:
    """All pictures turned, scaled and stretched alike about their middle."""
    size = sample.crops.shape[1]
    middle = (size - 1) / 2
    turn = np.deg2rad(rng.uniform(-TURN, TURN))
    scale, stretch = 1 + rng.uniform(-SCALE, SCALE), 1 + rng.uniform(-STRETCH, STRETCH)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation @ np.diag([scale, scale * stretch])
    matrix = np.hstack([linear, (middle - linear @ [middle, middle])[:, None]])
    crops = [cv2.warpAffine(c, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE) for c in sample.crops]
    valid = [cv2.warpAffine(v, matrix, (size, size), flags=cv2.INTER_NEAREST) for v in sample.valid]
    landmarks = sample.landmarks @ linear.T + matrix[:, 2]
    return ImageSample(np.stack(crops), landmarks.astype(np.float32), np.stack(valid))


def degrade(crops: UInt8, rng: np.random.Generator) -> UInt8:
    """Blur, loss of resolution or JPEG compression of all crops ``[n s s 3]`` alike; often two of them."""
    size = crops.shape[1]
    sigma = size * rng.uniform(*BLUR)
    small = round(size * rng.uniform(*DOWNSAMPLED))
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


def occlude(sample: ImageSample, targets: int, rng: np.random.Generator) -> None:
    """Put an occluder in front of the lower face of one picture, in place.

    In a reference it may cover the lips. In a target it leaves them free, and what it covers is not ``valid``: no
    renderer could draw it.
    """
    crops, at = sample.crops, int(rng.integers(0, len(sample.crops)))
    is_target = at < targets
    lips, jaw = sample.landmarks[at, 48:68], sample.landmarks[at, list(JAW)]
    middle = jaw[rng.integers(len(jaw))] if is_target else lips.mean(0)
    size = crops.shape[1]
    alpha = ellipse(size, middle + rng.normal(0, 0.05 * size, 2), rng)
    if is_target:
        alpha[around(lips, size)] = 0
        sample.valid[at] *= alpha < 0.02
    # Its own hair, brow or background, upside down and in other colours: no flat patch that is easily recognised.
    texture = crops[at, ::-1] * rng.uniform(0.4, 1.3, 3) * rng.uniform(0.5, 1.1)
    mixed = crops[at] + alpha[..., None] * (np.minimum(texture, 255) - crops[at])
    crops[at] = np.round(mixed).astype(np.uint8)


def ellipse(size: int, middle: Float32, rng: np.random.Generator) -> Float32:
    """How much of each pixel ``[size size]`` an ellipse with a soft edge covers, in [0, 1]."""
    axes, angle = size * rng.uniform(*OCCLUDER, 2), rng.uniform(0, 180)
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
