"""Tokens of a video transformer: 2 × 2 latent pixels of one frame each."""

from __future__ import annotations

import torch
from torch import Tensor

PATCH = 2


def patches_of(x: Tensor) -> Tensor:
    """What the patch convolution multiplies, ``[b f n 4c]``, of ``[b f c h w]``; it is one matrix product."""
    patches = x.unfold(-2, PATCH, PATCH).unfold(-2, PATCH, PATCH).permute(0, 1, 3, 4, 2, 5, 6)
    return patches.flatten(4).flatten(2, 3)


def latents_of(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Latents ``[b f c h w]`` from tokens ``[b f n 4c]`` whose channels are (row, column, c) of a patch."""
    x = torch.unflatten(torch.unflatten(tokens, 2, grid), -1, (PATCH, PATCH, -1))
    return x.permute(0, 1, 6, 2, 4, 3, 5).flatten(5).flatten(3, 4)
