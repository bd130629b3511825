"""What the flow networks over mouth states share: audio windows, blocks modulated by time and sound, velocity head.

Positions enter only as a learned bias on the distance in frames, so that a stream has no end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEL_ROWS = 32
"""Rows of one audio window: from 16 before to 15 after the frame's own row (160 ms and 150 ms)."""
ROWS_BEFORE = 16
N_MELS = 80


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """Sizes of the network. ``chunk`` and ``window`` are in latent frames of 40 ms; ``window`` in whole chunks."""

    latent: int = 24
    width: int = 128
    layers: int = 4
    heads: int = 4
    chunk: int = 4
    window: int = 24

    def __post_init__(self) -> None:
        if self.window % self.chunk or self.width % self.heads:
            raise ValueError(f"window must be whole chunks and width whole heads, got {self}")


class AudioWindowEncoder(nn.Module):
    """Log-mel windows ``[b n 32 80]`` → one vector for each latent frame ``[b n d]``. Sees nothing outside them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv1d(N_MELS, 64, 5, 1, 2), nn.SiLU(), nn.Conv1d(64, 96, 4, 2, 1), nn.SiLU(),
            nn.Conv1d(96, 96, 4, 2, 1), nn.SiLU(), nn.Conv1d(96, 96, 4, 2, 1), nn.SiLU(),
        )  # fmt: skip
        self.out = nn.Linear(96 * MEL_ROWS // 8, width)

    def forward(self, windows: Tensor) -> Tensor:
        h = self.convs(windows.flatten(0, 1).transpose(1, 2))
        out: Tensor = self.out(h.flatten(1)).unflatten(0, windows.shape[:2])
        return out


class FlowBlock(nn.Module):
    """Pre-norm attention and MLP, both modulated by the token's condition (adaptive layer norm, gates from zero)."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        d = config.width
        self.heads, self.reach = config.heads, config.window + config.chunk
        self.modulation = nn.Linear(d, 6 * d)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(approximate="tanh"), nn.Linear(4 * d, d))
        # One bias per head and distance −reach … reach, and one for reference tokens (last column).
        self.distance_bias = nn.Parameter(torch.zeros(config.heads, 2 * self.reach + 2))

    def project(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        """Queries, keys, values ``[b h n c]`` of tokens ``[b n d]``, and the modulation for ``finish``."""
        modulation = self.modulation(F.silu(condition)).chunk(6, dim=-1)
        h = F.layer_norm(x, x.shape[-1:]) * (1 + modulation[0]) + modulation[1]
        q, k, v = self.qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v, modulation

    def finish(
        self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, modulation: tuple[Tensor, ...]
    ) -> Tensor:
        """Attend with an additive ``bias`` ``[h n m]`` and run the MLP."""
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype))
        x = x + modulation[2] * self.out(attended.transpose(1, 2).flatten(2))
        h = F.layer_norm(x, x.shape[-1:]) * (1 + modulation[3]) + modulation[4]
        out: Tensor = x + modulation[5] * self.mlp(h)
        return out

    def bias(self, distance: Tensor) -> Tensor:
        """Bias ``[h n m]`` from query-minus-key distances ``[n m]``; values beyond the reach mean a reference."""
        index = torch.where(
            distance.abs() > self.reach, torch.full_like(distance, 2 * self.reach + 1), distance + self.reach
        )
        return self.distance_bias[:, index]


class FlowBackbone(nn.Module):
    """Embeddings, blocks and velocity head of a flow v(x_t, t | audio, references), in normalised latent units."""

    latent_mean: Tensor
    latent_std: Tensor
    rest: Tensor
    opening: Tensor
    liberty: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        d = config.width
        self.audio = AudioWindowEncoder(d)
        self.state_in = nn.Linear(config.latent, d)
        self.reference_in = nn.Sequential(nn.Linear(config.latent, d), nn.SiLU(), nn.Linear(d, d))
        self.reference_condition = nn.Parameter(torch.zeros(d))
        self.time = nn.Sequential(nn.Linear(64, d), nn.SiLU(), nn.Linear(d, d))
        self.blocks = nn.ModuleList(FlowBlock(config) for _ in range(config.layers))
        self.final_modulation = nn.Linear(d, 2 * d)
        self.velocity = nn.Linear(d, config.latent)
        for layer in (self.final_modulation, self.velocity):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("latent_mean", torch.zeros(config.latent))
        self.register_buffer("latent_std", torch.ones(config.latent))
        self.register_buffer("rest", torch.zeros(config.latent))
        self.register_buffer("opening", torch.zeros(config.latent))
        # torch.eye imports torch's compiler where networks are laid out without memory.
        self.register_buffer("liberty", torch.from_numpy(np.eye(config.latent, dtype=np.float32)))

    def normalise(self, z: Tensor) -> Tensor:
        """Encoder units → the network's, zero mean and unit variance over the training set."""
        return (z - self.latent_mean) / self.latent_std

    def share_units(self, other: FlowBackbone) -> None:
        """Take over the latent statistics of another network, so that states mean the same to both."""
        for mine, theirs in (
            (self.latent_mean, other.latent_mean),
            (self.latent_std, other.latent_std),
            (self.rest, other.rest),
            (self.opening, other.opening),
            (self.liberty, other.liberty),
        ):
            mine.copy_(theirs)

    def denormalise(self, x: Tensor) -> Tensor:
        """The inverse of ``normalise``."""
        return x * self.latent_std + self.latent_mean

    def anchored(self, x: Tensor, references: Tensor) -> Tensor:
        """States ``[b n latent]`` kept near those of the person in ``[b r latent]``, all normalised.

        Networks draw towards the average speaker. ``liberty`` shrinks what separates a state from the references'
        mean in the directions in which people differ, and leaves those in which one person moves.
        """
        own = references.mean(1, keepdim=True)
        anchored: Tensor = own + (x - own) @ self.liberty.T
        return anchored

    def reference_tokens(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``[b r d]`` of reference states ``[b r latent]`` (normalised) and their condition."""
        tokens = self.reference_in(references)
        return tokens, self.reference_condition.expand_as(tokens)

    def time_vector(self, t: Tensor) -> Tensor:
        """Embedding ``[b n d]`` of times ``[b n]`` in [0, 1]."""
        frequencies = torch.exp(torch.arange(32, device=t.device, dtype=t.dtype) * (-math.log(1000.0) / 31))
        angles = 1000 * t[..., None] * frequencies
        out: Tensor = self.time(torch.cat([angles.cos(), angles.sin()], -1))
        return out

    def velocity_of(self, h: Tensor, condition: Tensor) -> Tensor:
        """Velocity ``[b n latent]`` read from the last block's tokens."""
        scale, shift = self.final_modulation(F.silu(condition)).chunk(2, dim=-1)
        out: Tensor = self.velocity(F.layer_norm(h, h.shape[-1:]) * (1 + scale) + shift)
        return out

    def block_list(self) -> list[FlowBlock]:
        """The blocks, typed."""
        return list(self.blocks)  # type: ignore[arg-type]
