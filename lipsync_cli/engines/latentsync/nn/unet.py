"""The UNet of LatentSync over diffusers' blocks: Stable Diffusion 1.5 that hears, with or without motion modules.

Two norms differ from what diffusers does. Residual blocks and the output head take their statistics over all frames
of a window at once, in version 1.0 too, although it has no temporal attention; motion modules, for which diffusers
does just that, take theirs frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT_CHANNELS = 4
INPUT_CHANNELS = 3 * LATENT_CHANNELS + 1
"""Noisy latent, mask, latent of the masked crop, latent of the whole crop."""
TIME_FACTOR = 4


@dataclass(frozen=True, slots=True)
class UNetSizes:
    """``widths`` by level from fine to coarse; ``motion`` for the versions with temporal attention.

    ``audio_width`` is that of an audio token, ``positions`` the longest window motion modules can tell apart.
    """

    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    layers: int = 2
    heads: int = 8
    groups: int = 32
    audio_width: int = 384
    positions: int = 24
    motion: bool = True


@dataclass(slots=True)
class Window:
    """How many frames the pictures of a batch belong together by; set before every pass, read by the norms."""

    frames: int = 1


class JointGroupNorm(nn.GroupNorm):
    """Group norm of pictures ``[b·f c h w]`` with statistics over all ``window.frames`` of a window."""

    def __init__(self, norm: nn.GroupNorm, window: Window) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps)
        self._window = window

    def forward(self, x: Tensor) -> Tensor:
        """``x`` normalised, in the same shape."""
        clips = torch.unflatten(x, 0, (-1, self._window.frames)).transpose(1, 2)
        return super().forward(clips).transpose(1, 2).flatten(0, 1)


class FrameGroupNorm(nn.GroupNorm):
    """Group norm of clips ``[b c f h w]`` with statistics of each frame."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` normalised, in the same shape."""
        frames = x.transpose(1, 2)
        normal = super().forward(frames.flatten(0, 1))
        return torch.unflatten(normal, 0, frames.shape[:2]).transpose(1, 2)


class LatentSyncUNet(nn.Module):
    """Predicts the noise in a window of latents; the weights are those of ``create_unet``."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self._motion = _has_motion(net)
        self._window = net.conv_norm_out._window

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    def predict(self, x: Tensor, t: int, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Noise ``[b f 4 h w]`` in ``x`` ``[b f 13 h w]`` at step ``t`` of 1000, and what ``predict_again`` wants.

        ``audio`` are the tokens of each frame ``[b f n d]``. Windows of a batch do not see each other.
        """
        deep: list[Tensor] = []
        entry = self.net.up_blocks[-1].resnets[-1].norm1
        hook = entry.register_forward_pre_hook(lambda module, args: deep.append(args[0]))
        try:
            noise = self._forward(x, t, audio)
        finally:
            hook.remove()
        return noise, deep[0][:, : deep[0].shape[1] - self.net.conv_in.out_channels]

    def predict_again(self, x: Tensor, t: int, audio: Tensor, deep: Tensor) -> Tensor:
        """``predict`` with everything but the finest layer taken from an earlier pass (DeepCache, arXiv 2312.00858).

        Recomputed are the first convolution, the last layer of the last block and the output head.
        """
        batch, frames = x.shape[:2]
        self._window.frames = frames
        net, up, tokens = self.net, self.net.up_blocks[-1], audio.flatten(0, 1)
        h = torch.cat([deep, net.conv_in(x.flatten(0, 1))], 1)
        h = up.resnets[-1](h, self._time(t, batch * frames))
        h = up.attentions[-1](h, encoder_hidden_states=tokens, return_dict=False)[0]
        if self._motion:
            h = up.motion_modules[-1](h, num_frames=frames)
        noise: Tensor = net.conv_out(F.silu(net.conv_norm_out(h)))
        return torch.unflatten(noise, 0, (batch, frames))

    def forward(self, x: Tensor, t: int, audio: Tensor) -> Tensor:
        """The noise alone, for counting and compiling."""
        return self._forward(x, t, audio)

    def _forward(self, x: Tensor, t: int, audio: Tensor) -> Tensor:
        self._window.frames = x.shape[1]
        time, tokens = torch.tensor([t], device=x.device), audio.flatten(0, 1)
        if self._motion:
            clip: Tensor = self.net(x.transpose(1, 2), time, tokens, return_dict=False)[0]
            return clip.transpose(1, 2)
        pictures: Tensor = self.net(x.flatten(0, 1), time, tokens, return_dict=False)[0]
        return torch.unflatten(pictures, 0, x.shape[:2])

    def _time(self, t: int, count: int) -> Tensor:
        embedded: Tensor = self.net.time_proj(torch.tensor([t], device=self.device)).to(self.dtype)
        embedded = self.net.time_embedding(embedded)
        return embedded.expand(count, -1)


def create_unet(sizes: UNetSizes) -> nn.Module:
    """diffusers' network with unloaded weights and the norms of LatentSync; its keys are diffusers'."""
    from diffusers import UNet2DConditionModel, UNetMotionModel

    common = {
        "sample_size": 64,
        "in_channels": INPUT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "block_out_channels": sizes.widths,
        "layers_per_block": sizes.layers,
        "norm_num_groups": sizes.groups,
        "cross_attention_dim": sizes.audio_width,
    }
    net: Any
    if sizes.motion:
        net = UNetMotionModel(
            num_attention_heads=sizes.heads,
            motion_num_attention_heads=sizes.heads,
            motion_max_seq_length=sizes.positions,
            use_motion_mid_block=False,
            **common,
        )
    else:
        # What diffusers calls the dimension of a head here is their number.
        net = UNet2DConditionModel(attention_head_dim=sizes.heads, **common)
    return _with_our_norms(net)


def _with_our_norms(net: Any) -> nn.Module:
    from diffusers.models.resnet import ResnetBlock2D

    window = Window()
    for module in list(net.modules()):
        if isinstance(module, ResnetBlock2D):
            module.norm1, module.norm2 = (JointGroupNorm(norm, window) for norm in (module.norm1, module.norm2))
        elif type(module).__name__ == "AnimateDiffTransformer3D":
            module.norm = FrameGroupNorm(module.norm)
    net.conv_norm_out = JointGroupNorm(net.conv_norm_out, window)
    made: nn.Module = net
    return made


def _has_motion(net: Any) -> bool:
    return any(hasattr(block, "motion_modules") for block in net.up_blocks)
