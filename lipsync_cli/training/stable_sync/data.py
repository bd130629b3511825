"""Inputs of StableSyncNet from prepared clips, and the pairs of windows that it is trained on.

Prepared crops hold more of the lower face than LatentSync's aligned square, so its lower half is cut from them by
their landmarks: nothing needs to be prepared anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.errors import InputError, OutputError
from lipsync_cli.core.types import Float32, UInt8
from lipsync_cli.evaluation.measures.stable_sync import aligned_half, frame_major, mel_windows
from lipsync_cli.nn.sync.stable_syncnet import StableSyncConfig
from lipsync_cli.training.dataset.format import CLIP_MARGIN
from lipsync_cli.training.dataset.loader import ClipData, load_clips

_UPRIGHT = np.eye(2, 3)


@dataclass(frozen=True, slots=True)
class AlignedClip:
    """Lower halves uint8 ``[n h w 3]``, memory-mapped, and the sound around them, see ``format.clip_samples``."""

    halves: UInt8
    sound: Float32


class SyncPair(NamedTuple):
    """Windows of picture and sound of one clip, by their first frames; a positive pair where those are equal."""

    clip: int
    picture: int
    sound: int

    @property
    def matched(self) -> bool:
        """Whether picture and sound are of the same frames."""
        return self.picture == self.sound


class SyncPairBatch(NamedTuple):
    """Pictures uint8 ``[b 3·f h w]``, mels ``[b 1 80 columns]``, and 1 or 0 ``[b]`` for positive or negative."""

    pictures: Tensor
    mels: Tensor
    matched: Tensor


def load_aligned(data: Path, split: str, config: StableSyncConfig, cache: Path) -> list[AlignedClip]:
    """The clips of a prepared split that hold two windows; cut once and kept in ``cache``: 98 kB a frame at 256 px.

    InputError where there is none, OutputError when they cannot be kept.
    """
    height, least = config.visual.shape[1], 2 * config.frames
    clips = [clip for clip in load_clips(data, split) if clip.record.frames >= least]
    if not clips:
        raise InputError(
            f"{data} has no clip of {least} frames in its {split} split.", hint="Add clips of talking people."
        )
    return [AlignedClip(_halves(clip, height, cache), clip.sound) for clip in clips]


def _halves(clip: ClipData, height: int, cache: Path) -> UInt8:
    path = cache / f"{clip.record.name}-{clip.record.sha256[:8]}-{height}.npy"
    if not path.is_file():
        frames = zip(np.asarray(clip.crops), clip.landmarks, strict=True)
        halves = np.stack([aligned_half(crop, points, _UPRIGHT, height) for crop, points in frames])
        try:
            _store(halves, path)
        except OSError as error:
            raise OutputError(
                f"Aligned crops cannot be kept in {cache}: {error.strerror}.",
                hint=f"They need about {halves.nbytes / 1e6:.0f} MB for each clip.",
            ) from error
    stored: UInt8 = np.load(path, mmap_mode="r")
    return stored


def _store(halves: UInt8, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of several processes each may be the first to want a clip.
    partial = path.with_suffix(f".{os.getpid()}.part.npy")
    np.save(partial, halves)
    partial.replace(path)


def draw_pairs(clips: Sequence[AlignedClip], count: int, seed: int, *, frames: int, apart: int = 1) -> list[SyncPair]:
    """``count`` pairs of windows, a function of the arguments: clip and picture at random, half with their own sound.

    The sound of the others is ``apart`` frames and more away; where the clip is too short for that, as far as it
    goes.
    """
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        clip = int(rng.integers(len(clips)))
        starts = len(clips[clip].halves) - frames + 1
        picture = int(rng.integers(starts))
        if rng.random() < 0.5:
            pairs.append(SyncPair(clip, picture, picture))
            continue
        away = np.abs(np.arange(starts) - picture)
        pairs.append(SyncPair(clip, picture, int(rng.choice(np.flatnonzero(away >= min(apart, away.max()))))))
    return pairs


def load_pairs(clips: Sequence[AlignedClip], pairs: Sequence[SyncPair], config: StableSyncConfig) -> SyncPairBatch:
    """The pixels and mels of pairs, on the CPU."""
    pictures = [frame_major(np.asarray(clips[p.clip].halves[p.picture : p.picture + config.frames])) for p in pairs]
    mels = [
        mel_windows(clips[p.clip].sound, CLIP_MARGIN, range(p.sound, p.sound + 1), config.columns)[0] for p in pairs
    ]
    matched = torch.tensor([float(p.matched) for p in pairs])
    return SyncPairBatch(torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(mels)), matched)
