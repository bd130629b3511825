"""LatentSync's UNet written down once more, from its description, over plain dictionaries of the released tensors.

Clips are ``[b c f h w]`` throughout. Nothing of diffusers is used, and the file's own names are.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class ReferenceUNet:
    """``weights`` are named as in the released files; widths and depths follow from their shapes."""

    def __init__(self, weights: dict[str, Tensor], *, heads: int, groups: int, old: bool) -> None:
        self.w, self.heads, self.groups, self.old = weights, heads, groups, old

    def __call__(self, x: Tensor, t: int, audio: Tensor) -> Tensor:
        """Noise ``[b 4 f h w]`` in ``x`` ``[b 13 f h w]``, hearing ``audio`` ``[b f n d]``."""
        time = self._time(t)
        h = self._conv("conv_in", x)
        skips, levels = [h], 4
        for i in range(levels):
            for j in range(self._count(f"down_blocks.{i}.resnets")):
                h = self._layer(f"down_blocks.{i}", j, h, time, audio)
                skips.append(h)
            if self._has(f"down_blocks.{i}.downsamplers.0.conv"):
                h = self._conv(f"down_blocks.{i}.downsamplers.0.conv", h, stride=2)
                skips.append(h)
        h = self._resnet("mid_block.resnets.0", h, time)
        h = self._spatial("mid_block.attentions.0", h, audio)
        h = self._resnet("mid_block.resnets.1", h, time)
        for i in range(levels):
            for j in range(self._count(f"up_blocks.{i}.resnets")):
                h = self._layer(f"up_blocks.{i}", j, torch.cat([h, skips.pop()], 1), time, audio)
            if self._has(f"up_blocks.{i}.upsamplers.0.conv"):
                h = h.repeat_interleave(2, 3).repeat_interleave(2, 4)
                h = self._conv(f"up_blocks.{i}.upsamplers.0.conv", h)
        return self._conv("conv_out", F.silu(self._joint_norm("conv_norm_out", h, 1e-5)))

    def _layer(self, block: str, j: int, h: Tensor, time: Tensor, audio: Tensor) -> Tensor:
        h = self._resnet(f"{block}.resnets.{j}", h, time)
        if self._has(f"{block}.attentions.{j}.norm"):
            h = self._spatial(f"{block}.attentions.{j}", h, audio)
        if self._has(f"{block}.motion_modules.{j}.temporal_transformer.norm"):
            h = self._temporal(f"{block}.motion_modules.{j}.temporal_transformer", h)
        return h

    def _resnet(self, name: str, x: Tensor, time: Tensor) -> Tensor:
        h = self._conv(f"{name}.conv1", F.silu(self._joint_norm(f"{name}.norm1", x, 1e-5)))
        h = h + self._linear(f"{name}.time_emb_proj", F.silu(time))[:, :, None, None, None]
        h = self._conv(f"{name}.conv2", F.silu(self._joint_norm(f"{name}.norm2", h, 1e-5)))
        return h + (self._conv(f"{name}.conv_shortcut", x) if self._has(f"{name}.conv_shortcut") else x)

    def _spatial(self, name: str, x: Tensor, audio: Tensor) -> Tensor:
        b, c, f, height, width = x.shape
        h = self._conv(f"{name}.proj_in", self._frame_norm(f"{name}.norm", x))
        tokens = h.permute(0, 2, 3, 4, 1).reshape(b * f, height * width, c)
        block, heard = f"{name}.transformer_blocks.0", audio.reshape(b * f, *audio.shape[2:])
        norm, cross = ("audio_cross_attn.norm", "audio_cross_attn.attn") if self.old else ("norm2", "attn2")
        normal = self._layer_norm(f"{block}.norm1", tokens)
        tokens = tokens + self._attention(f"{block}.attn1", normal, normal)
        tokens = tokens + self._attention(f"{block}.{cross}", self._layer_norm(f"{block}.{norm}", tokens), heard)
        tokens = tokens + self._feed_forward(f"{block}.ff", self._layer_norm(f"{block}.norm3", tokens))
        h = tokens.reshape(b, f, height, width, c).permute(0, 4, 1, 2, 3)
        return x + self._conv(f"{name}.proj_out", h)

    def _temporal(self, name: str, x: Tensor) -> Tensor:
        b, c, f, height, width = x.shape
        h = self._frame_norm(f"{name}.norm", x).permute(0, 3, 4, 2, 1).reshape(b * height * width, f, c)
        h, block = self._linear(f"{name}.proj_in", h), f"{name}.transformer_blocks.0"
        for i in (0, 1):
            attention = f"{block}.attention_blocks.{i}"
            placed = self._layer_norm(f"{block}.norms.{i}", h) + self.w[f"{attention}.pos_encoder.pe"][:, :f]
            h = h + self._attention(attention, placed, placed)
        h = h + self._feed_forward(f"{block}.ff", self._layer_norm(f"{block}.ff_norm", h))
        h = self._linear(f"{name}.proj_out", h)
        return x + h.reshape(b, height, width, f, c).permute(0, 4, 3, 1, 2)

    def _attention(self, name: str, x: Tensor, context: Tensor) -> Tensor:
        def split(tokens: Tensor) -> Tensor:
            return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = (
            split(self._linear(f"{name}.to_{s}", source))
            for s, source in zip("qkv", (x, context, context), strict=True)
        )
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return self._linear(f"{name}.to_out.0", (weights @ v).transpose(1, 2).flatten(2))

    def _feed_forward(self, name: str, x: Tensor) -> Tensor:
        value, gate = self._linear(f"{name}.net.0.proj", x).chunk(2, -1)
        return self._linear(f"{name}.net.2", value * F.gelu(gate))

    def _time(self, t: int) -> Tensor:
        half = self.w["time_embedding.linear_1.weight"].shape[1] // 2
        angles = t * torch.exp(-math.log(10_000) * torch.arange(half) / half)
        h = self._linear("time_embedding.linear_1", torch.cat([angles.cos(), angles.sin()])[None])
        return self._linear("time_embedding.linear_2", F.silu(h))

    def _joint_norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        return F.group_norm(x, self.groups, self.w[f"{name}.weight"], self.w[f"{name}.bias"], eps)

    def _frame_norm(self, name: str, x: Tensor) -> Tensor:
        frames = [self._joint_norm(name, frame, 1e-6) for frame in x.unbind(2)]
        return torch.stack(frames, 2)

    def _layer_norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def _conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.w[f"{name}.weight"]
        return F.conv3d(
            x, weight[:, :, None], self.w[f"{name}.bias"], (1, stride, stride), (0, *[weight.shape[-1] // 2] * 2)
        )

    def _has(self, name: str) -> bool:
        return f"{name}.weight" in self.w

    def _count(self, name: str) -> int:
        return len({key.removeprefix(f"{name}.").split(".")[0] for key in self.w if key.startswith(f"{name}.")})
