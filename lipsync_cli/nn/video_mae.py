"""VideoMAE v2's encoder (Wang et al. 2023, arXiv 2303.16727): what TREPA compares clips by.

Names and shapes are those of the public fine-tuned files, without their classification head; no such file has been
loaded here yet. It is written out rather than taken from transformers, whose VideoMAE names q and v biases
differently from version to version, holds positions that no device but the CPU is told of, and pools with another
epsilon.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lipsync_cli.nn.checkpoints import load_strictly

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class VideoMaeConfig:
    """``frames`` of ``size``² pixels become one token for each ``tubelet`` × ``patch`` × ``patch``.

    The defaults are ViT-g/14, of ``vit_g_hybrid_pt_1200e_ssv2_ft.pth``.
    """

    width: int = 1408
    depth: int = 40
    heads: int = 16
    hidden: int = 6144
    patch: int = 14
    tubelet: int = 2
    frames: int = 16
    size: int = 224

    @property
    def tokens(self) -> int:
        """Tokens of a clip."""
        return (self.frames // self.tubelet) * (self.size // self.patch) ** 2


class VideoMae(nn.Module):
    """Clips to pooled features; ``checkpointing`` computes blocks again for the gradient instead of keeping them."""

    def __init__(self, config: VideoMaeConfig | None = None, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.config, self.checkpointing = config or VideoMaeConfig(), checkpointing
        c = self.config
        kernel = (c.tubelet, c.patch, c.patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, c.width, kernel, kernel)})
        self.blocks = nn.ModuleList(_Block(c) for _ in range(c.depth))
        self.fc_norm = nn.LayerNorm(c.width, eps=_EPS)

    def forward(self, clips: Tensor) -> Tensor:
        """Features ``[b width]`` of RGB clips ``[b 3 frames size size]``; the mean over tokens, then normalised.

        Public weights were trained on ImageNet-normalised pixels; TREPA gives them [0, 1]. Raises ValueError for
        clips of another shape.
        """
        c = self.config
        if clips.shape[1:] != (3, c.frames, c.size, c.size):
            raise ValueError(f"clips must be [b 3 {c.frames} {c.size} {c.size}], got {list(clips.shape)}")
        x = self.patch_embed["proj"](clips).flatten(2).transpose(1, 2)
        x = x + sinusoid_positions(c.tokens, c.width).to(x)
        for block in self.blocks:
            again = self.checkpointing and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        out: Tensor = self.fc_norm(x.mean(1))
        return out


@functools.lru_cache(maxsize=4)
def sinusoid_positions(count: int, width: int) -> Tensor:
    """Table ``[1 count width]`` of Vaswani et al. (2017): sine in even places, cosine of the same angle after it."""
    place = torch.arange(width, dtype=torch.float64)
    angles = torch.arange(count, dtype=torch.float64)[:, None] / 10_000 ** (2 * (place // 2) / width)
    return torch.where(place % 2 == 0, angles.sin(), angles.cos()).float()[None]


def load_video_mae(path: Path, config: VideoMaeConfig | None = None, *, checkpointing: bool = False) -> VideoMae:
    """The frozen encoder of a public file, its classification head left out; ModelError for one that does not fit."""
    return load_strictly(lambda: VideoMae(config, checkpointing=checkpointing), path, rename=_without_head)


def _without_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if not key.startswith("head.")}


class _Block(nn.Module):
    def __init__(self, config: VideoMaeConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=_EPS)
        self.attn = _Attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=_EPS)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(config.width, config.hidden), "fc2": nn.Linear(config.hidden, config.width)}
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return out


class _Attention(nn.Module):
    """Self-attention whose queries and values have a bias and whose keys have none, as BEiT's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        b, n, _ = x.shape
        q, k, v = F.linear(x, self.qkv.weight, bias).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out
