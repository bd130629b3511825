"""The parts of the Lip Forcing transformer: attention, block, head, audio pack, time sinusoid."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.nn.wan.config import TransformerConfig

EPS = 1e-6


class RMSNorm(nn.Module):
    """Root-mean-square norm over all channels, not per head; normalised in float32 at least, weighted as stored."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS)
        return normed.to(x.dtype) * self.weight


class Attention(nn.Module):
    """Projections of one attention, self or cross; who attends to whom is the caller's business."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(width), RMSNorm(width)

    def queries(self, x: Tensor) -> Tensor:
        """Normalised queries ``[... h c]`` of ``[... d]``."""
        return self._split(self.norm_q(self.q(x)))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised keys and values ``[... h c]`` of ``[... d]``."""
        return self._split(self.norm_k(self.k(x))), self._split(self.v(x))

    def _split(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.heads, -1))


class DiTBlock(nn.Module):
    """One layer: ``x + g₁·SA(mod₁ x)``, ``+ CA(norm x)``, ``+ g₂·FFN(mod₂ x)``."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        d = config.width
        self.self_attn = Attention(d, config.heads)
        self.cross_attn = Attention(d, config.heads)
        self.norm3 = nn.LayerNorm(d, eps=EPS)
        self.ffn = nn.Sequential(
            nn.Linear(d, config.feed_forward), nn.GELU(approximate="tanh"), nn.Linear(config.feed_forward, d)
        )
        self.modulation = nn.Parameter(torch.randn(1, 6, d) / d**0.5)
        self.wide = True

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        text: tuple[Tensor, Tensor],
        attend: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Tokens ``[b f n d]`` at modulation ``[b f 6 d]``; ``text`` are keys and values ``[b l h c]``."""
        return self.finish(x, attend(*self.project(x, modulation)), modulation, text)

    def project(self, x: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[b f n h c]`` of the self-attention."""
        shift, scale, *_ = self._table(x, modulation)
        h = modulated(x, shift, scale)
        return self.self_attn.queries(h), *self.self_attn.keys_values(h)

    def finish(self, x: Tensor, attended: Tensor, modulation: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
        """Everything after the self-attention, whose outcome is ``attended`` ``[b f·n h c]``."""
        _, _, gate, shift2, scale2, gate2 = self._table(x, modulation)
        x = gated(x, self.self_attn.o(attended.flatten(2)).view_as(x), gate)
        x = x + self._cross(x, text)
        return gated(x, self.ffn(modulated(x, shift2, scale2)), gate2)

    def _table(self, x: Tensor, modulation: Tensor) -> tuple[Tensor, ...]:
        kind = _precision(x, self.wide)
        return (self.modulation.to(kind) + modulation.to(kind))[:, :, :, None].unbind(2)

    def _cross(self, x: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
        wide = x.to(_precision(x, self.wide))
        weight, bias = self.norm3.weight.to(wide.dtype), self.norm3.bias.to(wide.dtype)
        h = F.layer_norm(wide, wide.shape[-1:], weight, bias, EPS).to(x.dtype)
        q = self.cross_attn.queries(h).flatten(1, 2).transpose(1, 2)
        k, v = (part.transpose(1, 2) for part in text)
        out: Tensor = self.cross_attn.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out.view_as(x)


class Head(nn.Module):
    """Modulated norm and projection to patches."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, out)
        self.modulation = nn.Parameter(torch.randn(1, 2, width) / width**0.5)
        self.wide = True

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Tokens ``[b f n out]`` from ``[b f n d]`` and the time embedding ``[b f d]``."""
        kind = _precision(x, self.wide)
        shift, scale = (self.modulation.to(kind)[:, None] + time.to(kind)[:, :, None])[:, :, :, None].unbind(2)
        out: Tensor = self.head(modulated(x, shift, scale))
        return out


class AudioPack(nn.Module):
    """Speech features of the four frames behind a latent frame → a short vector."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(features, width)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.norm_out(self.proj(features))
        return out


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, scaled and shifted, in the modulation's precision; back in that of ``x``."""
    h = F.layer_norm(x.to(shift.dtype), x.shape[-1:], eps=EPS)
    return (h * (1 + scale) + shift).to(x.dtype)


def gated(x: Tensor, change: Tensor, gate: Tensor) -> Tensor:
    """``x + gate · change`` in the gate's precision; back in that of ``x``."""
    return (x.to(gate.dtype) + change.to(gate.dtype) * gate).to(x.dtype)


def sinusoid(t: Tensor, frequencies: int) -> Tensor:
    """Cosines then sines ``[... 2·frequencies]`` of ``t · 10000^(−i/frequencies)``, in float64 where there is any."""
    kind = torch.float32 if t.device.type == "mps" else torch.float64
    exponents = torch.arange(frequencies, device=t.device, dtype=kind) / frequencies
    angles = t.to(kind)[..., None] * 10_000.0**-exponents
    return torch.cat([angles.cos(), angles.sin()], -1)


def _precision(x: Tensor, wide: bool) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32) if wide else x.dtype
