"""The Wan 2.1 video autoencoder as a stream: diffusers' network, with its feature caches carried by the caller.

diffusers runs whole clips and throws its caches away; here a stream keeps them, so that chunks one after another
give what the whole clip would.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

# Original name → diffusers' name; of residual blocks: norm, conv, norm, conv.
_RESIDUAL = {"residual.0": "norm1", "residual.2": "conv1", "residual.3": "norm2", "residual.6": "conv2"}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_ENDS = {"head.0.": "norm_out.", "head.2.": "conv_out."}


@dataclass(slots=True)
class WanState:
    """What a stream remembers: the last inputs of every causal convolution (None before the first), in order."""

    features: list[Any] = field(default_factory=list)
    started: bool = False


class StreamingWanVae(nn.Module):
    """Latents ``[b n 16 h w]`` are normalised; pictures are RGB in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.register_buffer("mean", torch.tensor(vae.config.latents_mean).view(1, 1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(vae.config.latents_std).view(1, 1, -1, 1, 1), persistent=False)

    def begin(self) -> WanState:
        """State of a stream, one for each direction."""
        return WanState()

    def encode(self, frames: Tensor, state: WanState) -> Tensor:
        """Latents ``[b n 16 h/8 w/8]`` of frames ``[b t 3 h w]``: the first alone, then groups of four.

        The mean of the posterior is taken, so that the same frames give the same latents.
        """
        groups = [frames[:, :1]] if not state.started else []
        rest = frames[:, len(groups) :]
        if rest.shape[1] % 4:
            raise ValueError(f"after the first, frames come in groups of four; {rest.shape[1] % 4} are left over")
        groups += torch.split(rest, 4, 1) if rest.shape[1] else []
        features = self._features(state, self.vae.encoder)
        out = []
        for group in groups:
            pixels = (2 * group - 1).transpose(1, 2).to(self.vae.dtype)
            out.append(self.vae.encoder(pixels, feat_cache=features, feat_idx=[0]))
        moments = self.vae.quant_conv(torch.cat(out, 2))
        means = moments[:, : moments.shape[1] // 2].transpose(1, 2)
        latents: Tensor = (means - self.mean.to(means.dtype)) * (1 / self.std).to(means.dtype)
        return latents

    def decode(self, latents: Tensor, state: WanState) -> Tensor:
        """Frames ``[b t 3 8h 8w]`` of latents ``[b n 16 h w]``: one for a stream's first latent, four for others."""
        z = latents.to(self.vae.dtype)
        z = z * self.std.to(z.dtype) + self.mean.to(z.dtype)
        z = self.vae.post_quant_conv(z.transpose(1, 2))
        first, features = not state.started, self._features(state, self.vae.decoder)
        out = []
        for index, latent in enumerate(torch.split(z, 1, 2)):
            begins = first and index == 0
            out.append(self.vae.decoder(latent, feat_cache=features, feat_idx=[0], first_chunk=begins))
        return (torch.cat(out, 2).transpose(1, 2).clamp(-1, 1) + 1) / 2

    @staticmethod
    def _features(state: WanState, network: nn.Module) -> list[Any]:
        if not state.started:
            # One slot for each causal convolution, which is at most one for each convolution in three dimensions.
            state.features = [None] * sum(isinstance(module, nn.Conv3d) for module in network.modules())
            state.started = True
        return state.features


def create_wan_vae(base_width: int = 96) -> Any:
    """diffusers' network of Wan 2.1 with unloaded weights."""
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(base_dim=base_width)


def diffusers_key(key: str) -> str:
    """diffusers' name for a key of the original checkpoint; a name that is diffusers' already comes back."""
    key = re.sub(r"^conv1\.", "quant_conv.", key)
    key = re.sub(r"^conv2\.", "post_quant_conv.", key)
    key = re.sub(r"^(encoder|decoder)\.conv1\.", r"\1.conv_in.", key)
    for ours, theirs in _ENDS.items():
        key = re.sub(rf"^(encoder|decoder)\.{re.escape(ours)}", rf"\1.{theirs}", key)
    key = re.sub(r"\.middle\.(\d)\.", lambda m: f".mid_block.{_MIDDLE[m[1]]}.", key)
    key = key.replace("encoder.downsamples.", "encoder.down_blocks.")
    key = re.sub(r"decoder\.upsamples\.(\d+)\.", lambda m: f"decoder.{_up_block(int(m[1]))}.", key)
    for ours, theirs in _RESIDUAL.items():
        key = key.replace(f".{ours}.", f".{theirs}.")
    return key.replace(".shortcut.", ".conv_shortcut.")


def _up_block(index: int) -> str:
    """A level of the decoder is three residual blocks and, but for the last, an upsampler."""
    level, place = divmod(index, 4)
    return f"up_blocks.{level}." + (f"resnets.{place}" if place < 3 else "upsamplers.0")


def wan_vae_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a published file under diffusers' names."""
    return {diffusers_key(key): value for key, value in tensors.items()}
