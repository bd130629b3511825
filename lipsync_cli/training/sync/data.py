"""Stretches of mouths with their sound for the sync expert: balanced by speaker, augmented, never beyond the clip.

Sound is only ever taken from inside the clip, because the silence around a cut-out word would reveal an offset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.core.types import Float32, UInt8
from lipsync_cli.nn.sync.sync_mini import MOUTH_SIZE, ROWS_PER_FRAME, mouth_windows
from lipsync_cli.training.dataset.audio_augment import augment_mel
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.dataset.loader import ClipData

# Sixteenths of the crop kept around the mouth, so that a turned or shifted window still has pixels.
MARGIN = 1


@dataclass(frozen=True, slots=True)
class SyncClip:
    """Grey mouths uint8 ``[n 64 96]`` with a margin, and the ``4·n`` mel rows of the same time, ``[4n 80]``."""

    mouths: UInt8
    mel: Float32
    speaker: str
    path: str


class SyncBatch(NamedTuple):
    """Mouths ``[b n 48 80]`` in [0, 1], mel ``[b 4n 80]`` and the number ``[b]`` of the clip each comes from."""

    mouths: Tensor
    mel: Tensor
    clip: Tensor


@torch.no_grad()
def cut_mouths(clips: list[ClipData]) -> list[SyncClip]:
    """The mouths of prepared clips, small enough to stay in memory (6 kB a frame)."""
    out = []
    for clip in clips:
        parts = []
        for first in range(0, len(clip.crops), 256):
            pixels = torch.from_numpy(np.array(clip.crops[first : first + 256])).permute(0, 3, 1, 2).float() / 255
            parts.append((mouth_windows(pixels, margin=MARGIN) * 255).round().to(torch.uint8).numpy())
        rows = clip.mel[MEL_MARGIN : MEL_MARGIN + ROWS_PER_FRAME * len(clip.crops)]
        out.append(SyncClip(np.concatenate(parts), rows, clip.record.speaker, clip.record.path))
    return out


def plain_mouths(mouths: UInt8) -> Tensor:
    """Mouths ``[n 48 80]`` in [0, 1] without their margin, not augmented."""
    edge = 8 * MARGIN
    return torch.from_numpy(np.ascontiguousarray(mouths[:, edge:-edge, edge:-edge])).float() / 255


def sync_batches(clips: list[SyncClip], *, size: int, frames: int, seed: int) -> Iterator[SyncBatch]:
    """Endless batches of ``size`` stretches of ``frames``; a function of its arguments.

    Speakers are drawn before clips, with the square root of their minutes, and no clip twice in a batch unless there
    are too few.
    """
    rng = np.random.default_rng(seed)
    usable = [index for index, clip in enumerate(clips) if len(clip.mouths) >= frames]
    weights = _clip_weights([clips[index] for index in usable])
    while True:
        chosen = rng.choice(usable, size, replace=size > len(usable), p=weights)
        pairs = [_stretch(clips[index], frames, rng) for index in chosen]
        mouths, mel = (torch.stack(column) for column in zip(*pairs, strict=True))
        yield SyncBatch(mouths, mel, torch.from_numpy(chosen))


def _clip_weights(clips: list[SyncClip]) -> npt.NDArray[np.float64]:
    """Clips of a speaker share what the speaker gets, by their length."""
    frames: dict[str, int] = defaultdict(int)
    for clip in clips:
        frames[clip.speaker] += len(clip.mouths)
    weights = np.array([len(clip.mouths) * frames[clip.speaker] ** -0.5 for clip in clips])
    return np.asarray(weights / weights.sum())


def _stretch(clip: SyncClip, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    start = int(rng.integers(0, len(clip.mouths) - frames + 1))
    rows = clip.mel[ROWS_PER_FRAME * start : ROWS_PER_FRAME * (start + frames)]
    mouths = torch.from_numpy(np.array(clip.mouths[start : start + frames])).float() / 255
    return augment_mouths(mouths, rng), torch.from_numpy(_augment_sound(rows, rng))


def _augment_sound(rows: Float32, rng: np.random.Generator) -> Float32:
    """Loudness, tilt and noise as for the flow, then sometimes a missing band, as a telephone has."""
    out = augment_mel(rows, rng)
    if rng.random() < 0.3:
        width = int(rng.integers(4, 20))
        low = int(rng.integers(0, out.shape[1] - width + 1))
        out[:, low : low + width] = out.mean()
    return out


def augment_mouths(mouths: Tensor, rng: np.random.Generator) -> Tensor:
    """Mouths ``[n h w]`` with a margin → ``[n 48 80]``, moved, scaled, turned, flipped, relit, blurred, noisy.

    All but the noise and a jitter of a third of a pixel are the same for every frame: only the mouth moves.
    """
    out = F.grid_sample(
        mouths[:, None], _grid(len(mouths), mouths.shape[-2:], rng), padding_mode="border", align_corners=False
    )[:, 0]
    if rng.random() < 0.4:
        out = _blurred(out, float(rng.uniform(1.2, 2.8)))
    gamma, gain = float(rng.uniform(0.65, 1.5)), float(rng.uniform(0.7, 1.25))
    out = gain * out.clamp(1e-3, 1) ** gamma + float(rng.normal(0, 0.04))
    noise = torch.from_numpy(rng.standard_normal(tuple(out.shape), np.float32))
    return (out + float(rng.uniform(0, 0.03)) * noise).clamp(0, 1)


def _blurred(mouths: Tensor, factor: float) -> Tensor:
    small = (round(MOUTH_SIZE[0] / factor), round(MOUTH_SIZE[1] / factor))
    reduced = F.interpolate(mouths[None], small, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(reduced, MOUTH_SIZE, mode="bilinear", align_corners=False)[0]


def _grid(count: int, source: tuple[int, int] | torch.Size, rng: np.random.Generator) -> Tensor:
    """Where ``grid_sample`` reads: ``[count 48 80 2]`` in the source's normalised coordinates."""
    angle, scale = rng.normal(0, 0.07), np.exp(rng.normal(0, 0.07))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    shift = rng.normal(0, 2.0, 2) + rng.normal(0, 0.33, (count, 2))
    y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in MOUTH_SIZE), indexing="ij")
    u = scale * (flip * np.cos(angle) * x - np.sin(angle) * y)
    v = scale * (flip * np.sin(angle) * x + np.cos(angle) * y)
    to_unit = 2 / np.array([source[1], source[0]])
    at, shift = np.stack([u, v], -1) * to_unit, shift * to_unit
    return torch.from_numpy(at.astype(np.float32)[None] + shift.astype(np.float32)[:, None, None])
