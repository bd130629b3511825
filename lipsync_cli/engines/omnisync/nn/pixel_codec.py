"""Latents that are the pixels themselves, folded: for models so small that an autoencoder would outweigh them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class PixelCodec(nn.Module):
    """Squares of ``fold`` × ``fold`` pixels become channels; nothing is lost, and every frame is a latent."""

    def __init__(self, fold: int) -> None:
        super().__init__()
        self.fold = fold

    def begin(self) -> None:
        """Nothing is carried from frame to frame."""

    def encode(self, frames: Tensor, state: None) -> Tensor:
        """Latents ``[b t 3·fold² h/fold w/fold]`` in [−1, 1] of frames ``[b t 3 h w]`` in [0, 1]."""
        return F.pixel_unshuffle(2 * frames - 1, self.fold)

    def decode(self, latents: Tensor, state: None) -> Tensor:
        """Frames of latents, cut to [0, 1]."""
        return (F.pixel_shuffle(latents, self.fold).clamp(-1, 1) + 1) / 2
