"""Accuracy of the sync expert on held-out speakers: of windows, of clips, and the error of the offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lipsync_cli.core.types import Float64
from lipsync_cli.evaluation.measures.av_offset import MAX_OFFSET, Embeddings, offset_sums, score_curve
from lipsync_cli.nn.sync.sync_mini import SyncMini
from lipsync_cli.training.common.runtime import device_of
from lipsync_cli.training.sync.data import SyncClip, plain_mouths

SHIFTS = range(-12, 13)
APART = 4
# Shorter clips have too few windows left at a shift of a second to find an offset in.
MIN_FRAMES_FOR_OFFSET = 50


@dataclass(frozen=True, slots=True)
class SyncCheck:
    """Shares in [0, 1], means over clips; offsets in frames over clips of two seconds and more, every shift −12 … 12.

    ``window_accuracy``: cosine above ½ for matching windows and below it for those four and more frames apart, half
    and half. ``window_order``: a matching window scores above such a one. ``clip_order``: the same of clip means.
    """

    clips: int
    window_accuracy: float
    window_order: float
    clip_order: float
    offset_clips: int
    offset_mean_error: float
    offset_exact: float
    offset_within_one: float


def check_expert(expert: SyncMini, clips: Sequence[SyncClip]) -> SyncCheck:
    """Measure on whole clips, not augmented. Raises ValueError without a clip of 24 frames."""
    rows, errors, long_clips = [], [], 0
    for clip in clips:
        if len(clip.mouths) < 24:
            continue
        picture, sound = embed_clip(expert, clip)
        rows.append(_accuracy(picture @ sound.T))
        if len(clip.mouths) >= MIN_FRAMES_FOR_OFFSET:
            long_clips += 1
            errors += offset_errors(picture, sound)
    if not rows:
        raise ValueError("no clip of at least 24 frames")
    accuracy, order, clip_order = np.mean(rows, axis=0)
    apart = np.abs(errors) if errors else np.array([np.nan])
    return SyncCheck(
        len(rows), float(accuracy), float(order), float(clip_order), long_clips,
        float(apart.mean()), float((apart == 0).mean()), float((apart <= 1).mean()),
    )  # fmt: skip


@torch.inference_mode()
def embed_clip(expert: SyncMini, clip: SyncClip) -> tuple[Embeddings, Embeddings]:
    """Embeddings ``[n − 15 d]`` of a clip's windows of picture and of sound."""
    device = device_of(expert)
    picture = expert.picture(plain_mouths(clip.mouths)[None].to(device))[0]
    sound = expert.sound(torch.from_numpy(clip.mel)[None].to(device))[0]
    return picture.cpu().numpy(), sound.cpu().numpy()


def _accuracy(cosine: Embeddings) -> tuple[float, float, float]:
    count = len(cosine)
    apart = np.abs(np.arange(count)[:, None] - np.arange(count)[None])
    matching = np.diagonal(cosine)
    negatives = [cosine[i][apart[i] >= APART] for i in range(count)]
    accuracy = 0.5 * np.mean(matching > 0.5) + 0.5 * np.mean(np.concatenate(negatives) < 0.5)
    order = np.mean([np.mean(m > others) for m, others in zip(matching, negatives, strict=True) if len(others)])
    by_shift = [
        np.diagonal(cosine, shift).mean() for shift in range(-count // 2, count // 2 + 1) if abs(shift) >= APART
    ]
    return float(accuracy), float(order), float(np.mean(matching.mean() > np.array(by_shift)))


def offset_errors(picture: Embeddings, sound: Embeddings) -> list[int]:
    """Recovered minus true offset for sound late by each of ``SHIFTS`` frames, searched within ± 15."""
    reach = MAX_OFFSET + max(SHIFTS)
    curve = offset_sums(picture, sound, _one_minus_cosine, max_offset=reach).curve()
    errors = []
    for late in SHIFTS:
        # With the sound ``late`` frames later, matching windows lie at entry late of the same curve.
        shifted = curve[reach - late - MAX_OFFSET : reach - late + MAX_OFFSET + 1]
        errors.append(score_curve(shifted, len(picture)).av_offset + late)
    return errors


def _one_minus_cosine(a: Embeddings, b: Embeddings) -> Float64:
    return np.asarray(1 - (a.astype(np.float64) * b).sum(-1))
