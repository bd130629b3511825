"""The patch critic: tells real lower faces from rendered ones, patch by patch (PatchGAN, Isola et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The part of the unit crop it looks at, x0, y0, x1, y1: the generated region and a rim of real pixels, against which
# a wrong sharpness or colour shows.
VIEW = (0.125, 0.375, 0.875, 1.0)
WIDTHS = (32, 64, 128)
# How many times over it sees what differs from the mean of 5 × 5 pixels. Rendered and real faces differ in little
# else, and by a few code values: a critic of plain pixels had learnt nothing after hundreds of steps.
DETAIL_GAIN = 8.0


class Judgement(NamedTuple):
    """``realness`` ``[b 1 h w]`` (positive: real) and the ``features`` of every layer below it."""

    realness: Tensor
    features: tuple[Tensor, ...]


class PatchCritic(nn.Module):
    """Crops ``[b 3 s s]`` in [0, 1] → a judgement of 38-pixel patches every eighth pixel."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (6, *WIDTHS[:-1])
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(inputs, WIDTHS, strict=True))
        self.last = nn.Conv2d(WIDTHS[-1], 1, 3, 1, 1)

    def forward(self, crops: Tensor) -> Judgement:
        pixels, features = view(crops) * 2 - 1, []
        detail = pixels - F.avg_pool2d(F.pad(pixels, (2, 2, 2, 2), mode="reflect"), 5, 1)
        h = torch.cat([pixels, DETAIL_GAIN * detail], 1)
        for layer in self.layers:
            h = F.leaky_relu(layer(h), 0.2)
            features.append(h)
        return Judgement(self.last(h), tuple(features))


def view(maps: Tensor) -> Tensor:
    """The part of ``[b c s s]`` that the critic sees."""
    size = maps.shape[-1]
    x0, y0, x1, y1 = (round(v * size) for v in VIEW)
    return maps[..., y0:y1, x0:x1]
