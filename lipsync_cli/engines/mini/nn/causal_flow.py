"""The causal flow network: mouth states from audio, chunk by chunk, with the past kept as keys and values.

A miniature of Lip Forcing (arXiv 2606.11180) in a space of mouth states at 25 Hz. Tokens of a chunk see each
other, the clean tokens of the ``window`` frames before, and the reference tokens, which take the place of the
attention sink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipsync_cli.engines.mini.nn.flow_backbone import FlowBackbone


@dataclass(slots=True)
class FlowCache:
    """What a segment remembers: per layer, keys and values of the references and of the last ``window`` frames.

    ``reference_keys`` float[b h r c], ``keys`` float[b h n c] with n ≤ window, and the same for values.
    """

    reference_keys: list[Tensor]
    reference_values: list[Tensor]
    keys: list[Tensor]
    values: list[Tensor]


class CausalFlow(FlowBackbone):
    """Velocity v(x_t, t | audio, past, references) over mouth states, chunk by chunk."""

    # Streaming: begin → (predict, predict, commit) per chunk.

    def begin(self, references: Tensor) -> FlowCache:
        """Cache of a segment with reference states ``[b r latent]`` (normalised)."""
        x, condition = self.reference_tokens(references)
        cache = FlowCache([], [], [], [])
        distance = torch.full((x.shape[1], x.shape[1]), 10**6, device=x.device)
        for block in self.block_list():
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
        condition = self.time_vector(t) + audio
        h = self.state_in(x) + audio
        for layer, block in enumerate(self.block_list()):
            q, k, v, modulation = block.project(h, condition)
            keys = torch.cat([cache.reference_keys[layer], cache.keys[layer], k], 2)
            values = torch.cat([cache.reference_values[layer], cache.values[layer], v], 2)
            h = block.finish(h, q, keys, values, block.bias(distance), modulation)
            if write:
                cache.keys[layer] = torch.cat([cache.keys[layer], k], 2)[:, :, -self.config.window :]
                cache.values[layer] = torch.cat([cache.values[layer], v], 2)[:, :, -self.config.window :]
        return self.velocity_of(h, condition)

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
        reference_tokens, reference_condition = self.reference_tokens(references)
        clean_condition = self.time_vector(torch.zeros_like(t)) + audio
        noisy_condition = self.time_vector(t) + audio
        h = torch.cat([reference_tokens, self.state_in(clean) + audio, self.state_in(noisy) + audio], 1)
        condition = torch.cat([reference_condition, clean_condition, noisy_condition], 1)
        distance, allowed = self._training_mask(r, n, h.device)
        for block in self.block_list():
            q, k, v, modulation = block.project(h, condition)
            bias = block.bias(distance).masked_fill(~allowed, -math.inf)
            h = block.finish(h, q, k, v, bias, modulation)
        return self.velocity_of(h[:, r + n :], noisy_condition)

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
