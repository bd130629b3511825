"""Sync expert: does this mouth say this sound? Two towers and the cosine between them.

StableSyncNet (LatentSync, arXiv 2412.09262) in miniature: 16 frames of the mouth and the 0.64 s of log-mel that
belong to them become two unit vectors without negative entries, so that their cosine lies in [0, 1] and is read as
the probability that they belong together. Unlike it, both towers are convolutions in time without padding: a clip of
n frames gives the n − 15 embeddings of its windows in one pass, and each equals what the window alone would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW_FRAMES = 16
ROWS_PER_FRAME = 4
WINDOW_ROWS = WINDOW_FRAMES * ROWS_PER_FRAME
MOUTH_SIZE = (48, 80)
# Rows and columns of the mouth in a lower-face crop, in sixteenths, so that crops of any multiple of 16 are cut
# alike.
MOUTH_ROWS, MOUTH_COLUMNS = (6, 12), (3, 13)
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class SyncConfig:
    """Channel widths of the pictures' and the sound's convolutions, of the frames' features and of the embedding."""

    picture: tuple[int, ...] = (16, 32, 48, 64)
    sound: tuple[int, ...] = (24, 48, 64)
    features: int = 128
    embedding: int = 256
    dropout: float = 0.1


def mouth_windows(crops: Tensor, *, margin: int = 0) -> Tensor:
    """Grey mouths ``[... 48 80]`` of RGB lower-face crops ``[... 3 s s]`` in [0, 1]; differentiable.

    ``s`` must be a multiple of 16. ``margin`` adds so many sixteenths of the crop on every side, in 8 pixels each.
    Raises ValueError for other shapes.
    """
    size = crops.shape[-1]
    if crops.shape[-3:] != (3, size, size) or size % 16:
        raise ValueError(f"crops must be [... 3 s s] with s a multiple of 16, got {list(crops.shape)}")
    unit = size // 16
    rows = slice((MOUTH_ROWS[0] - margin) * unit, (MOUTH_ROWS[1] + margin) * unit)
    columns = slice((MOUTH_COLUMNS[0] - margin) * unit, (MOUTH_COLUMNS[1] + margin) * unit)
    luma = torch.tensor(_LUMA, device=crops.device, dtype=crops.dtype)[:, None, None]
    grey = (crops[..., rows, columns] * luma).sum(-3)
    target = (MOUTH_SIZE[0] + 16 * margin, MOUTH_SIZE[1] + 16 * margin)
    flat = grey.reshape(-1, 1, *grey.shape[-2:])
    if flat.shape[-2:] != target:
        flat = F.interpolate(flat, target, mode="bilinear", antialias=True, align_corners=False)
    return flat.reshape(*grey.shape[:-2], *target)


class SyncMini(nn.Module):
    """``picture`` and ``sound`` embed every window of a clip; ``forward`` gives the cosine of matching windows."""

    def __init__(self, config: SyncConfig | None = None) -> None:
        super().__init__()
        self.config = config or SyncConfig()
        self.picture_net = _PictureNet(self.config)
        self.sound_net = _SoundNet(self.config)

    def picture(self, mouths: Tensor) -> Tensor:
        """Unit embeddings ``[b n−15 d]`` of grey mouths ``[b n 48 80]`` in [0, 1] at 25 per second, n ≥ 16."""
        return _unit(self.picture_net(mouths))

    def sound(self, mel: Tensor) -> Tensor:
        """Unit embeddings ``[b n−15 d]`` of log-mel ``[b 4·n 80]``, whose row 4·i is centred on frame i."""
        return _unit(self.sound_net(mel))

    def forward(self, mouths: Tensor, mel: Tensor) -> Tensor:
        """Cosines ``[b n−15]`` in [0, 1] of each window of mouths with the sound of the same time."""
        return (self.picture(mouths) * self.sound(mel)).sum(-1)


class _PictureNet(nn.Module):
    """Three frames at a time into 2-D convolutions, then convolutions over time."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        widths = (3, *config.picture)
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(widths)):
            kernel = 5 if index == 0 else 3
            layers += [nn.Conv2d(before, after, kernel, 2, kernel // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.spatial = nn.Sequential(*layers)
        left = 2 ** len(config.picture)
        self.project = nn.Linear(widths[-1] * (MOUTH_SIZE[0] // left) * (MOUTH_SIZE[1] // left), config.features)
        self.head = _Head(config, frames=WINDOW_FRAMES - 2)

    def forward(self, mouths: Tensor) -> Tensor:
        b, n = mouths.shape[:2]
        if n < WINDOW_FRAMES or mouths.shape[2:] != MOUTH_SIZE:
            raise ValueError(f"mouths must be [b n≥{WINDOW_FRAMES} 48 80], got {list(mouths.shape)}")
        # Around the mean grey of a face; lighting is otherwise left to training.
        stacks = (4 * (mouths - 0.45)).unfold(1, 3, 1).permute(0, 1, 4, 2, 3).flatten(0, 1)
        features = self.project(self.spatial(stacks).flatten(1))
        out: Tensor = self.head(features.unflatten(0, (b, n - 2)).transpose(1, 2))
        return out


class _SoundNet(nn.Module):
    """2-D convolutions that halve time twice, down to the rate of the frames, then convolutions over time."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        first, second, third = config.sound
        self.spectral = nn.Sequential(
            nn.Conv2d(1, first, (4, 5), (2, 2), (0, 2), bias=False), nn.BatchNorm2d(first), nn.ReLU(),
            nn.Conv2d(first, second, (3, 5), (2, 2), (0, 2), bias=False), nn.BatchNorm2d(second), nn.ReLU(),
            nn.Conv2d(second, third, (2, 3), (1, 2), (0, 1), bias=False), nn.BatchNorm2d(third), nn.ReLU(),
        )  # fmt: skip
        self.project = nn.Linear(third * 10, config.features)
        self.head = _Head(config, frames=WINDOW_FRAMES - 2)

    def forward(self, mel: Tensor) -> Tensor:
        if mel.shape[1] < WINDOW_ROWS or mel.shape[1] % ROWS_PER_FRAME or mel.shape[2] != 80:
            raise ValueError(f"mel must be [b 4·n≥{WINDOW_ROWS} 80], got {list(mel.shape)}")
        maps = self.spectral(mel[:, None])
        features = self.project(maps.permute(0, 2, 1, 3).flatten(2))
        out: Tensor = self.head(features.transpose(1, 2))
        return out


class _Head(nn.Module):
    """Features ``[b c n]`` of single frames → embeddings ``[b n−frames+1 d]`` of windows of ``frames``."""

    def __init__(self, config: SyncConfig, *, frames: int) -> None:
        super().__init__()
        width = config.features
        self.layers = nn.Sequential(
            nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(config.dropout),
            nn.Conv1d(width, width, 3, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(config.dropout),
            nn.Conv1d(width, config.embedding, frames - 2, bias=False), nn.BatchNorm1d(config.embedding),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features).transpose(1, 2)
        return out


def _unit(embedding: Tensor) -> Tensor:
    """No negative entries and length 1, so that a cosine of two is in [0, 1]."""
    return F.normalize(F.relu(embedding), dim=-1, eps=1e-6)
