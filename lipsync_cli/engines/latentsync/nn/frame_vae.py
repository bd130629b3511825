"""The picture autoencoder of Stable Diffusion as its authors fine-tuned it for faces: 8 × 8 pixels to a latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

SCALE = 0.18215
"""Latents as the UNet has them are the autoencoder's times this."""
AT_ONCE = 4
"""Pictures that go through at a time: at 512 pixels one's widest maps take a quarter of a gigabyte in float32."""

# Names of the attention before diffusers 0.18 → today's.
_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


class FrameVae(nn.Module):
    """Pictures are RGB ``[n 3 h w]`` in [0, 1], latents ``[n 4 h/8 w/8]``; every picture on its own."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the latents of ``pictures``, float32."""
        means, deviations = [], []
        for part in torch.split(pictures, AT_ONCE):
            posterior = self.vae.encode((2 * part - 1).to(self.vae.dtype)).latent_dist
            means.append(posterior.mean.float())
            deviations.append(posterior.std.float())
        return SCALE * torch.cat(means), SCALE * torch.cat(deviations)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of ``latents``, float32, within [0, 1]."""
        parts = torch.split((latents / SCALE).to(self.vae.dtype), AT_ONCE)
        decoded = torch.cat([self.vae.decode(part, return_dict=False)[0].float() for part in parts])
        return (decoded.clamp(-1, 1) + 1) / 2


def create_vae(widths: tuple[int, ...] = (128, 256, 512, 512), groups: int = 32) -> nn.Module:
    """diffusers' network of ``sd-vae-ft-mse`` with unloaded weights."""
    from diffusers import AutoencoderKL

    vae: nn.Module = AutoencoderKL(
        sample_size=256,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=2,
        norm_num_groups=groups,
    )
    return vae


def vae_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's tensors under today's names of the attention."""
    return {_renamed(key): value for key, value in tensors.items()}


def _renamed(key: str) -> str:
    if ".attentions." in key:
        for old, new in _ATTENTION.items():
            key = key.replace(old, new)
    return key
