"""The causal flow network: mouth states from audio, chunk by chunk, with the past kept as keys and values.

A miniature of Lip Forcing (arXiv 2606.11180) in a space of mouth states at 25 Hz. Tokens of a chunk see each
other, the clean tokens of the ``window`` frames before, and the reference tokens, which take the place of the
attention sink. Positions enter only as a learned bias on the distance in frames, so that a stream has no end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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


class Block(nn.Module):
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


@dataclass(slots=True)
class FlowCache:
    """What a segment remembers: per layer, keys and values of the references and of the last ``window`` frames.

    ``reference_keys`` float[b h r c], ``keys`` float[b h n c] with n ≤ window, and the same for values.
    """

    reference_keys: list[Tensor]
    reference_values: list[Tensor]
    keys: list[Tensor]
    values: list[Tensor]


class CausalFlow(nn.Module):
    """Velocity v(x_t, t | audio, past, references) over mouth states, in normalised latent units."""

    latent_mean: Tensor
    latent_std: Tensor
    rest: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        d = config.width
        self.audio = AudioWindowEncoder(d)
        self.state_in = nn.Linear(config.latent, d)
        self.reference_in = nn.Sequential(nn.Linear(config.latent, d), nn.SiLU(), nn.Linear(d, d))
        self.reference_condition = nn.Parameter(torch.zeros(d))
        self.time = nn.Sequential(nn.Linear(64, d), nn.SiLU(), nn.Linear(d, d))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_modulation = nn.Linear(d, 2 * d)
        self.velocity = nn.Linear(d, config.latent)
        for layer in (self.final_modulation, self.velocity):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("latent_mean", torch.zeros(config.latent))
        self.register_buffer("latent_std", torch.ones(config.latent))
        self.register_buffer("rest", torch.zeros(config.latent))

    def normalise(self, z: Tensor) -> Tensor:
        """Encoder units → the network's, zero mean and unit variance over the training set."""
        return (z - self.latent_mean) / self.latent_std

    def denormalise(self, x: Tensor) -> Tensor:
        """The inverse of ``normalise``."""
        return x * self.latent_std + self.latent_mean

    # Streaming: begin → (predict, predict, commit) per chunk.

    def begin(self, references: Tensor) -> FlowCache:
        """Cache of a segment with reference states ``[b r latent]`` (normalised)."""
        x, condition = self._reference_tokens(references)
        cache = FlowCache([], [], [], [])
        distance = torch.full((x.shape[1], x.shape[1]), 10**6, device=x.device)
        for block in self._blocks():
            q, k, v, modulation = block.project(x, condition)
            cache.reference_keys.append(k)
            cache.reference_values.append(v)
            cache.keys.append(k[:, :, :0])
            cache.values.append(v[:, :, :0])
            x = block.finish(x, q, k, v, block.bias(distance), modulation)
        return cache

    def predict(self, x: Tensor, t: Tensor, audio: Tensor, cache: FlowCache) -> Tensor:
        """Velocity ``[b n latent]`` of a chunk x ``[b n latent]`` at times t ``[b n]``; the cache is only read."""
        return self._chunk(x, t, audio, cache, write=False)

    def commit(self, x0: Tensor, audio: Tensor, cache: FlowCache) -> None:
        """Add a finished chunk to the past (a pass at t = 0) and drop what lies beyond the window."""
        self._chunk(x0, torch.zeros(x0.shape[:2], device=x0.device, dtype=x0.dtype), audio, cache, write=True)

    def _chunk(self, x: Tensor, t: Tensor, audio: Tensor, cache: FlowCache, *, write: bool) -> Tensor:
        n, past = x.shape[1], cache.keys[0].shape[2]
        distance = self._distances(n, past, cache.reference_keys[0].shape[2], x.device)
        condition = self._time(t) + audio
        h = self.state_in(x) + audio
        for layer, block in enumerate(self._blocks()):
            q, k, v, modulation = block.project(h, condition)
            keys = torch.cat([cache.reference_keys[layer], cache.keys[layer], k], 2)
            values = torch.cat([cache.reference_values[layer], cache.values[layer], v], 2)
            h = block.finish(h, q, keys, values, block.bias(distance), modulation)
            if write:
                cache.keys[layer] = torch.cat([cache.keys[layer], k], 2)[:, :, -self.config.window :]
                cache.values[layer] = torch.cat([cache.values[layer], v], 2)[:, :, -self.config.window :]
        return self._velocity(h, condition)

    @staticmethod
    def _distances(n: int, past: int, references: int, device: torch.device) -> Tensor:
        queries = torch.arange(past, past + n, device=device)
        keys = torch.arange(past + n, device=device)
        frames = queries[:, None] - keys[None, :]
        return torch.cat([torch.full((n, references), 10**6, device=device), frames], 1)

    # Training: all chunks at once, each seeing the clean past (teacher forcing).

    def forward(self, clean: Tensor, noisy: Tensor, t: Tensor, audio: Tensor, references: Tensor) -> Tensor:
        """Velocity ``[b n latent]`` for noisy states at times t ``[b n]``, given clean ones as their past.

        Equal, chunk by chunk, to ``begin`` / ``predict`` / ``commit`` (a test holds them together).
        """
        r, n = references.shape[1], clean.shape[1]
        reference_tokens, reference_condition = self._reference_tokens(references)
        clean_condition = self._time(torch.zeros_like(t)) + audio
        noisy_condition = self._time(t) + audio
        h = torch.cat([reference_tokens, self.state_in(clean) + audio, self.state_in(noisy) + audio], 1)
        condition = torch.cat([reference_condition, clean_condition, noisy_condition], 1)
        distance, allowed = self._training_mask(r, n, h.device)
        for block in self._blocks():
            q, k, v, modulation = block.project(h, condition)
            bias = block.bias(distance).masked_fill(~allowed, -math.inf)
            h = block.finish(h, q, k, v, bias, modulation)
        return self._velocity(h[:, r + n :], noisy_condition)

    def _training_mask(self, r: int, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Distances and permissions ``[r+2n r+2n]`` over [references, clean, noisy]."""
        position = torch.arange(n, device=device)
        chunk_start = position // self.config.chunk * self.config.chunk
        distance = torch.full((r + 2 * n, r + 2 * n), 10**6, device=device)
        frames = position[:, None] - position[None, :]
        distance[r:, r:] = frames.repeat(2, 2)
        same = chunk_start[:, None] == chunk_start[None, :]
        before = (position[None, :] < chunk_start[:, None]) & (
            position[None, :] >= chunk_start[:, None] - self.config.window
        )
        allowed = torch.zeros(r + 2 * n, r + 2 * n, dtype=torch.bool, device=device)
        allowed[:, :r] = True
        allowed[r : r + n, r : r + n] = same | before
        allowed[r + n :, r : r + n] = before
        allowed[r + n :, r + n :] = same
        # Distances outside the window are masked anyway; clamp them so that they do not read as references.
        distance = torch.where(allowed, distance, torch.zeros_like(distance))
        return distance, allowed

    def _reference_tokens(self, references: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.reference_in(references)
        return tokens, self.reference_condition.expand_as(tokens)

    def _time(self, t: Tensor) -> Tensor:
        frequencies = torch.exp(torch.arange(32, device=t.device, dtype=t.dtype) * (-math.log(1000.0) / 31))
        angles = 1000 * t[..., None] * frequencies
        out: Tensor = self.time(torch.cat([angles.cos(), angles.sin()], -1))
        return out

    def _velocity(self, h: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.final_modulation(F.silu(condition)).chunk(2, dim=-1)
        out: Tensor = self.velocity(F.layer_norm(h, h.shape[-1:]) * (1 + scale) + shift)
        return out

    def _blocks(self) -> list[Block]:
        return list(self.blocks)  # type: ignore[arg-type]
