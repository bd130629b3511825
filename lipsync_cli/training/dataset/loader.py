"""Clips of a prepared folder, and batches for the renderer that balance speakers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.compositing.mask import blend_mask
from lipsync_cli.core.landmarks68 import JAW, lip_gap
from lipsync_cli.core.types import Float32, UInt8
from lipsync_cli.engines.mini.nn.landmark_flow import POINTS
from lipsync_cli.training.dataset.format import (
    MIN_FRAMES,
    ClipRecord,
    Int16,
    StoredCrops,
    arrays_path,
    clip_samples,
    mel_rows,
    read_arrays,
    read_index,
    video_path,
)
from lipsync_cli.training.dataset.image_augment import ImageAugmentRecipe, ImageSample, augment_images

# A clip whose source is no larger than the crop shows true detail; upsampled ones teach blur and are drawn less.
SHARP_SCALE = 0.75
UPSAMPLED_WEIGHT = 0.35
# Mean step in code values between neighbouring rows below which the lower one repeats the upper.
CONTINUED_STEP = 0.6
# Crop widths by which a frame's own chin may be lower than the rendered one, which uncovers what lies under it.
CHIN_DROP = 0.03
OPEN_LICENCES = ("CC BY 4.0 (GRID corpus)", "MIT", "repo MIT (LICENSE")


@dataclass(frozen=True, slots=True)
class ClipData:
    """One prepared clip: ``crops`` uint8 ``[n s s 3]``, ``landmarks`` ``[n 68 2]`` in crop pixels.

    ``rows`` ``[n]`` of each crop lie in the source picture, which ends above the others. ``mel`` has ``MEL_MARGIN``
    rows before and after the clip's own, four a frame; ``sound`` is what it was made from, see
    ``format.clip_samples``. Both have the clip's lag undone.
    """

    record: ClipRecord
    crops: UInt8 | StoredCrops
    landmarks: Float32
    mel: Float32
    sound: Float32
    rows: Int16


def load_clips(folder: Path, split: str, *, open_only: bool = False, cache: Path | None = None) -> list[ClipData]:
    """Every usable clip of a split; ``open_only`` keeps the clearly licensed ones.

    Crops are decoded when they are first asked for and then kept in ``cache``, the folder's own if unset: 110 kB a
    frame at 192 px. Raises InputError for a folder that was never prepared.
    """
    clips = []
    for record in read_index(folder):
        licensed = not open_only or is_open(record.licence)
        if record.split != split or record.frames < MIN_FRAMES or not licensed:
            continue
        arrays = read_arrays(arrays_path(folder, record.name))
        decoded = (cache or folder / "cache") / f"{record.name}-{record.sha256[:8]}.npy"
        crops = StoredCrops(video_path(folder, record.name), decoded, record.frames, record.crop_size)
        sound = clip_samples(arrays.samples, record.frames, record.lag_frames)
        clips.append(ClipData(record, crops, arrays.landmarks, mel_rows(sound, record.frames), sound, arrays.rows))
    return clips


def is_open(licence: str) -> bool:
    """Whether clips under a licence, in the words of the CSV, may be in weights that anybody may use."""
    return licence.startswith(OPEN_LICENCES)


class RenderBatch(NamedTuple):
    """Targets ``[b t 3 s s]``, references ``[b k 3 s s]``, points of both ``[b · 29 2]`` in crop fractions.

    ``masks`` ``[b t 1 s s]`` is the compositor's blending mask of each target, 0 where the crop reached beyond the
    source picture or is occluded.
    """

    targets: Tensor
    references: Tensor
    target_points: Tensor
    reference_points: Tensor
    masks: Tensor


def render_batches(
    clips: list[ClipData],
    *,
    size: int,
    sequences: int,
    targets: int,
    references: int,
    seed: int,
    still: float = 0.0,
    augment: ImageAugmentRecipe | None = None,
) -> Iterator[RenderBatch]:
    """Endless batches of ``sequences`` clips; a pure function of its arguments.

    A share ``still`` of them has references that all show one state, as a portrait's or a listener's do. Without
    ``augment`` only colours change, and left and right.
    """
    rng = np.random.default_rng(seed)
    weights = speaker_weights(clips)
    while True:
        chosen = rng.choice(len(clips), sequences, p=weights)
        samples = [_render_sample(clips[i], size, targets, references, rng, still, augment) for i in chosen]
        stacked = [torch.stack(column) for column in zip(*samples, strict=True)]
        yield RenderBatch(*stacked)


def speaker_weights(clips: list[ClipData]) -> Float32:
    """Every speaker equally often, whatever their share of the minutes; upsampled sources less."""
    speakers = [clip.record.speaker for clip in clips]
    counts = {speaker: speakers.count(speaker) for speaker in set(speakers)}
    weights = np.array(
        [
            (1.0 if clip.record.source_scale >= SHARP_SCALE else UPSAMPLED_WEIGHT)
            / counts[clip.record.speaker] ** 0.7
            for clip in clips
        ]
    )
    return np.asarray(weights / weights.sum())


def _render_sample(
    clip: ClipData,
    size: int,
    targets: int,
    references: int,
    rng: np.random.Generator,
    still: float,
    augment: ImageAugmentRecipe | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    count = len(clip.crops)
    at = rng.integers(0, count, targets)
    choose = still_references if rng.random() < still else choose_references
    picked = np.concatenate([at, choose(clip.landmarks, references, rng)])
    drops = CHIN_DROP * np.abs(rng.normal(size=targets))
    sample = _sample(clip, picked)
    if augment is not None:
        sample = augment_images(sample, targets, augment, rng)
    rows = zip(sample.crops, sample.landmarks, sample.valid, drops, strict=False)
    masks = [
        visible_mask(crop, marks, size, len(crop), chin_drop=drop) * _wholly_valid(valid, size)
        for crop, marks, valid, drop in rows
    ]
    pixels = torch.from_numpy(sample.crops).permute(0, 3, 1, 2).float() / 255
    points = torch.from_numpy(sample.landmarks[:, POINTS] + 0.5) / clip.crops.shape[1]
    if pixels.shape[-1] != size:
        pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
    pixels = jitter_colour(pixels, rng)
    visible = torch.from_numpy(np.stack(masks))[:, None]
    if rng.random() < 0.5:
        pixels, visible, points = pixels.flip(-1), visible.flip(-1), mirror_points(points)
    return pixels[:targets], pixels[targets:], points[:targets], points[targets:], visible


def _sample(clip: ClipData, picked: npt.NDArray[np.int64]) -> ImageSample:
    crops = np.array(clip.crops[picked])
    valid = np.arange(crops.shape[1])[:, None] < clip.rows[picked][:, None, None]
    return ImageSample(crops, clip.landmarks[picked], np.repeat(valid, crops.shape[2], 2).astype(np.float32))


def _wholly_valid(valid: Float32, size: int) -> npt.NDArray[np.bool_]:
    """Pixels ``[size size]`` of a resized picture that are made of valid ones of ``[s s]`` alone."""
    return np.asarray(cv2.resize(valid, (size, size), interpolation=cv2.INTER_AREA) > 1 - 1e-4)


def visible_mask(
    crop: UInt8, landmarks: Float32, size: int, rows: int | None = None, *, chin_drop: float | None = None
) -> Float32:
    """The compositor's mask ``[size size]`` for a crop ``[s s 3]`` with landmarks ``[68 2]`` in its pixels.

    It ends ``chin_drop`` crop widths below where it would for the mouth that the crop shows (unset: with the region).
    0 below the first ``rows`` rows, where the crop reached beyond the source picture and there is nothing to learn.
    Unset, they are estimated from the pixels, which only works before any codec has touched them.
    """
    scale = size / len(crop)
    points = (landmarks + 0.5) * scale - 0.5
    jaw = None if chin_drop is None else points[list(JAW)] + np.array([0.0, chin_drop * size])
    mask = blend_mask(points, size, generated_jaw=jaw)
    mask[int((valid_rows(crop) if rows is None else rows) * scale) :] = 0
    return mask


def valid_rows(crop: UInt8) -> int:
    """How many rows of a crop, from the top, lie in the source: up to the last that does not repeat the one above."""
    steps = np.abs(np.diff(crop.astype(np.int16), axis=0)).mean((1, 2)) > CONTINUED_STEP
    return int(np.flatnonzero(steps)[-1]) + 1 if steps.any() else len(crop)


def choose_references(landmarks: Float32, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Frames of one random second, spread over its apertures from closed to open, as ``dub`` chooses them."""
    window = min(len(landmarks), 25)
    start = int(rng.integers(0, len(landmarks) - window + 1))
    order = np.argsort(lip_gap(landmarks[start : start + window]))
    ranks = np.linspace(0, window - 1, count) + rng.normal(0, 1.5, count)
    return np.asarray(start + order[np.clip(np.round(ranks), 0, window - 1).astype(int)])


def still_references(landmarks: Float32, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Neighbouring frames, from which the range of the lips' opening cannot be known."""
    first = int(rng.integers(0, max(1, len(landmarks) - count + 1)))
    return np.minimum(np.arange(first, first + count), len(landmarks) - 1)


def jitter_colour(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Pixels ``[n 3 h w]`` in [0, 1] with one random gamma and one random gain for each channel."""
    gain = torch.tensor(rng.uniform(0.8, 1.2, (1, 3, 1, 1)) ** 0.5 * rng.uniform(0.75, 1.2), dtype=torch.float32)
    gamma = float(rng.uniform(0.8, 1.25))
    return (pixels.clamp(1e-3, 1) ** gamma * gain).clamp(0, 1)


# Left-right partners of lip and jaw points, so that a mirrored picture keeps the landmark order.
_MIRROR = [6, 5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 16, 15, 14, 13, 12, 19, 18, 17, *range(28, 19, -1)]


def mirror_points(points: Tensor) -> Tensor:
    """Points of lips and jaw ``[n 29 2]`` in crop fractions as they lie in the picture flipped left to right."""
    flipped = points[:, _MIRROR].clone()
    flipped[..., 0] = 1 - flipped[..., 0]
    return flipped
