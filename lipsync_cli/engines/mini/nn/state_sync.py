"""A sync expert over mouth states: does this stretch of lips belong to this stretch of sound?

SyncNet (Chung and Zisserman 2016) without pixels: the mouth states are what the lips do, so judging a rollout
needs no rendering, which would cost a hundred times the rollout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.engines.mini.nn.flow_backbone import AudioWindowEncoder

SPAN = 12
"""Frames of one judged stretch: 480 ms."""
WIDTH = 96


class StateSync(nn.Module):
    """States ``[b n latent]`` (normalised) and audio windows ``[b n 32 80]`` → unit vectors ``[b n−SPAN+1 d]``."""

    def __init__(self, latent: int = 24, embedding: int = 64) -> None:
        super().__init__()
        self.audio = AudioWindowEncoder(WIDTH)
        self.lips_in = nn.Linear(latent, WIDTH)
        self.lips_head, self.sound_head = (_stretch_head(embedding) for _ in range(2))
        self.temperature = nn.Parameter(torch.tensor(2.0))

    def lips(self, states: Tensor) -> Tensor:
        """Embeddings of every stretch of states."""
        h = self.lips_in(states - states.mean(1, keepdim=True))
        return F.normalize(self.lips_head(h.transpose(1, 2)).transpose(1, 2), dim=-1)

    def sound(self, windows: Tensor) -> Tensor:
        """Embeddings of every stretch of sound."""
        return F.normalize(self.sound_head(self.audio(windows).transpose(1, 2)).transpose(1, 2), dim=-1)

    def agreement(self, states: Tensor, windows: Tensor) -> Tensor:
        """Cosine ``[b m m]`` of every stretch of lips (rows) with every stretch of sound (columns) of a sequence."""
        return self.agreement_with(states, self.sound(windows))

    def agreement_with(self, states: Tensor, sound: Tensor) -> Tensor:
        """The same for sound that was embedded before."""
        return self.lips(states) @ sound.transpose(1, 2)


def confidence(agreement: Tensor, *, reach: int = 12) -> Tensor:
    """Mean cosine in sync minus the median over offsets within ±reach, per sequence ``[b]``.

    The cosine form of SyncNet's confidence (median minus minimum of the distances).
    """
    m = agreement.shape[-1]
    offsets = range(-min(reach, m - 1), min(reach, m - 1) + 1)
    means = torch.stack([agreement.diagonal(offset, 1, 2).mean(1) for offset in offsets], 1)
    return agreement.diagonal(0, 1, 2).mean(1) - means.median(1).values


def _stretch_head(embedding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(WIDTH, WIDTH, 5),
        nn.SiLU(),
        nn.Conv1d(WIDTH, WIDTH, 5),
        nn.SiLU(),
        nn.Conv1d(WIDTH, embedding, SPAN - 8),
    )
