"""StableSyncNet, LatentSync's sync supervisor (Li et al. 2024, arXiv 2412.09262), in all its public configurations.

Names and shapes are those of the public files, so that they should load as they are; that is checked against lists of
their keys and sizes, never yet with the files themselves. Each tower halves what it sees until a single place is
left; a ReLU before the unit length makes every cosine lie in [0, 1], and it is read as the probability that picture
and sound belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

Factor = int | tuple[int, int]
_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class TowerConfig:
    """Input ``shape`` (channels, height, width); width and down-sampling ``factors`` (height, width) of each block.

    ``attention`` lists the blocks that a self-attention block follows.
    """

    shape: tuple[int, int, int]
    widths: tuple[int, ...]
    factors: tuple[Factor, ...]
    attention: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StableSyncConfig:
    """Both towers, and how many ``frames`` at 25 per second they compare.

    The picture is either three channels a frame, the lower half of an aligned crop, or four of a VAE latent.
    """

    frames: int
    audio: TowerConfig
    visual: TowerConfig
    groups: int = 32
    heads: int = 8

    @property
    def sees_pixels(self) -> bool:
        """Whether the picture is RGB rather than latents."""
        return self.visual.shape[0] == 3 * self.frames

    @property
    def columns(self) -> int:
        """Columns of mel in a window."""
        return self.audio.shape[2]


_AUDIO_16 = TowerConfig((1, 80, 52), (32, 64, 128, 256, 512, 1024, 2048), ((2, 1), 2, 2, 1, 2, 2, (2, 3)), (3, 4))
_VISUAL_16 = TowerConfig(
    (48, 128, 256), (64, 128, 256, 256, 512, 1024, 2048, 2048), ((1, 2), 2, 2, 2, 2, 2, 2, 2), (4, 5)
)
CONFIGS = {
    "16_pixel_attn": StableSyncConfig(16, _AUDIO_16, _VISUAL_16),
    "16_pixel": StableSyncConfig(
        16,
        TowerConfig(_AUDIO_16.shape, _AUDIO_16.widths, _AUDIO_16.factors),
        TowerConfig(_VISUAL_16.shape, _VISUAL_16.widths, _VISUAL_16.factors),
    ),
    "16_latent": StableSyncConfig(
        16,
        TowerConfig((1, 80, 52), (32, 64, 128, 256, 512, 1024), ((2, 1), 2, 2, 2, 2, (2, 3))),
        TowerConfig((64, 32, 32), (64, 128, 256, 256, 512, 1024), (2, 2, 2, 1, 2, 2)),
    ),
    "25_pixel": StableSyncConfig(
        25,
        TowerConfig((1, 80, 80), (64, 128, 256, 256, 512, 1024), (2, 2, 2, 2, 2, 2)),
        TowerConfig((75, 128, 256), (128, 128, 256, 256, 512, 512, 1024, 1024), ((1, 2), 2, 2, 2, 2, 2, 2, 2)),
    ),
    "small": StableSyncConfig(
        16,
        TowerConfig((1, 80, 52), (16, 32, 48, 64, 96, 192), ((2, 1), 2, 2, 2, 2, (2, 3))),
        TowerConfig((48, 32, 64), (16, 32, 64, 96, 128, 192), ((1, 2), 2, 2, 2, 2, 2)),
        groups=8,
    ),
}
"""The public ones by the names of their files, and one that a CPU can train. ``16_pixel_attn`` is that of
``stable_syncnet.pt``, ``16_pixel`` that of ``latentsync_syncnet.pt``."""


class StableSyncNet(nn.Module):
    """``picture`` and ``sound`` embed windows; ``forward`` gives the cosines of those that go together.

    ``checkpointing`` computes each block again for the gradient instead of keeping what it saw. Raises ValueError for
    a configuration whose towers do not end in one place and as many numbers.
    """

    def __init__(self, config: StableSyncConfig, *, checkpointing: bool = False) -> None:
        super().__init__()
        if config.audio.widths[-1] != config.visual.widths[-1]:
            raise ValueError(f"the towers end in {config.audio.widths[-1]} and {config.visual.widths[-1]} numbers")
        self.config = config
        self.audio_encoder = _Tower(config.audio, config.groups, config.heads, checkpointing)
        self.visual_encoder = _Tower(config.visual, config.groups, config.heads, checkpointing)

    def picture(self, frames: Tensor) -> Tensor:
        """Unit embeddings ``[b d]`` of windows ``[b c h w]`` as ``lower_halves`` makes them, or of latents."""
        out: Tensor = self.visual_encoder(frames)
        return out

    def sound(self, mel: Tensor) -> Tensor:
        """Unit embeddings ``[b d]`` of Wav2Lip mels ``[b 1 80 columns]``."""
        out: Tensor = self.audio_encoder(mel)
        return out

    def forward(self, frames: Tensor, mel: Tensor) -> Tensor:
        """Cosines ``[b]`` in [0, 1]."""
        return (self.picture(frames) * self.sound(mel)).sum(1)


def lower_halves(frames: Tensor, size: int | None = None) -> Tensor:
    """Windows ``[b 3·f s/2 s]``, one frame's channels after the other's, of aligned crops ``[b f 3 s s]`` in [−1, 1].

    Crops are first resized to ``size`` (bicubic, as LatentSync does at 512) if that is another one.
    """
    b, f, c, height, width = frames.shape
    if c != 3 or height != width or height % 2:
        raise ValueError(f"aligned crops must be [b f 3 s s] with an even s, got {list(frames.shape)}")
    flat = frames.flatten(0, 1)
    if size is not None and size != height:
        flat = F.interpolate(flat, (size, size), mode="bicubic")
    half = flat[..., flat.shape[-2] // 2 :, :]
    return half.reshape(b, f * c, *half.shape[-2:])


class _Tower(nn.Module):
    def __init__(self, config: TowerConfig, groups: int, heads: int, checkpointing: bool) -> None:
        super().__init__()
        if len(config.widths) != len(config.factors):
            raise ValueError(f"{len(config.widths)} widths need as many factors, got {len(config.factors)}")
        self.shape, self.checkpointing = config.shape, checkpointing
        channels, *size = config.shape
        self.conv_in = nn.Conv2d(channels, config.widths[0], 3, padding=1)
        blocks: list[nn.Module] = []
        for index, (before, after) in enumerate(zip((config.widths[0], *config.widths), config.widths, strict=False)):
            factors = _pair(config.factors[index])
            # Three pixels wide, one padded.
            size = [n if k == 1 else (n - 2) // k + 1 for n, k in zip(size, factors, strict=True)]
            blocks.append(_DownBlock(before, after, factors, groups))
            if index in config.attention:
                blocks.append(_AttentionBlock(after, groups, heads))
        if size != [1, 1]:
            raise ValueError(f"a tower must end in one place, not in {size[0]} × {size[1]}")
        self.down_blocks = nn.ModuleList(blocks)
        self.norm_out = nn.GroupNorm(groups, config.widths[-1], eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != self.shape:
            raise ValueError(f"the network takes [b {', '.join(map(str, self.shape))}], got {list(x.shape)}")
        x = self.conv_in(x)
        for block in self.down_blocks:
            again = self.checkpointing and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        # The length in full precision: half of a squared sum of 2048 numbers overflows.
        return F.normalize(F.relu(self.norm_out(x)).flatten(1).float(), dim=1)


class _DownBlock(nn.Module):
    """Two convolutions around which the input is added, then a strided one."""

    def __init__(self, inputs: int, outputs: int, factors: tuple[int, int], groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=_EPS)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=_EPS)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None
        self.downsample_conv = nn.Conv2d(outputs, outputs, 3, factors) if factors != (1, 1) else None
        # Left, right, top, bottom: a side that keeps its length is padded on both ends.
        self.pad = (int(factors[1] == 1), 1, int(factors[0] == 1), 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        y = y + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        out: Tensor = y if self.downsample_conv is None else self.downsample_conv(F.pad(y, self.pad))
        return out


class _AttentionBlock(nn.Module):
    """A transformer block over the places of a map, between two 1×1 convolutions."""

    def __init__(self, width: int, groups: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width, eps=_EPS)
        self.conv_in = nn.Conv2d(width, width, 1)
        self.norm2 = nn.LayerNorm(width)
        self.attn = _SelfAttention(width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.ff = _FeedForward(width)
        self.conv_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_in(self.norm1(x))
        places = y.flatten(2).transpose(1, 2)
        places = places + self.attn(self.norm2(places))
        places = places + self.ff(self.norm3(places))
        out: Tensor = x + self.conv_out(places.transpose(1, 2).unflatten(2, y.shape[2:]))
        return out


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (to(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v))
        out: Tensor = self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class _FeedForward(nn.Module):
    """GEGLU (Shazeer 2020) four times as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Names of the public file: 0 is the gate, 1 held a dropout.
        self.net = nn.ModuleList([nn.Module(), nn.Identity(), nn.Linear(4 * width, width)])
        self.net[0].proj = nn.Linear(width, 8 * width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.net[0].proj(x).chunk(2, dim=-1)  # type: ignore[operator]
        out: Tensor = self.net[2](value * F.gelu(gate))
        return out


def _pair(factor: Factor) -> tuple[int, int]:
    return (factor, factor) if isinstance(factor, int) else factor
