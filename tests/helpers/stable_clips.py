"""A StableSyncNet of a few thousand numbers, and clips from which it can learn."""

from __future__ import annotations

import numpy as np

from lipsync_cli.nn.sync.stable_syncnet import StableSyncConfig, TowerConfig
from lipsync_cli.training.dataset.format import CLIP_MARGIN, SAMPLES_PER_FRAME
from lipsync_cli.training.stable_sync.data import AlignedClip

TINY = StableSyncConfig(
    16,
    TowerConfig((1, 80, 52), (8, 16, 16), (4, 4, (5, 3))),
    TowerConfig((48, 16, 32), (8, 16, 16), ((1, 2), 4, 4)),
    groups=4,
)


def made_clips(count: int = 3, frames: int = 60) -> list[AlignedClip]:
    """Pictures as bright as their sound is loud; which moment is loud is random."""
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(count):
        loudness = np.repeat(rng.random(frames // 4 + 1), 4)[:frames]
        halves = np.zeros((frames, 16, 32, 3), np.uint8) + (255 * loudness).astype(np.uint8)[:, None, None, None]
        along = np.repeat(loudness, SAMPLES_PER_FRAME)
        sound = np.pad(along * rng.normal(0, 0.2, len(along)), CLIP_MARGIN)
        clips.append(AlignedClip(halves, sound.astype(np.float32)))
    return clips
