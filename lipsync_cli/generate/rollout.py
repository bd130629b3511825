"""The only rollout: how a chunk is denoised in few steps and becomes the past of the next one.

Inference and training call the same function; training passes ``grad_step`` to stop at one step of the schedule
and keep the gradient of that step alone (Self-Forcing). Rectified flow: x_t = (1 − t)·x0 + t·ε, the network
predicts v = ε − x0, hence x0 = x_t − t·v. Steps after the first start from the last x0 under fresh noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from lipsync_cli.nn.causal_flow import FlowCache


class ChunkFlow(Protocol):
    """What the rollout needs of a network."""

    def predict(self, x: Tensor, t: Tensor, audio: Tensor, cache: FlowCache) -> Tensor: ...

    def commit(self, x0: Tensor, audio: Tensor, cache: FlowCache) -> None: ...


def roll_chunk(
    network: ChunkFlow,
    cache: FlowCache,
    audio: Tensor,
    noises: Sequence[Tensor],
    schedule: Sequence[float],
    *,
    grad_step: int | None = None,
) -> Tensor:
    """Denoise one chunk and commit it; returns x0 ``[b n latent]``.

    ``noises`` holds one standard normal tensor of that shape per entry of ``schedule`` (times in (0, 1],
    falling). With ``grad_step`` = i the result is the x0 predicted at step i, the only step with a gradient.
    """
    last = len(schedule) - 1 if grad_step is None else grad_step
    x, x0 = schedule[0] * noises[0], torch.zeros_like(noises[0])
    for step, t in enumerate(schedule[: last + 1]):
        if step:
            x = (1 - t) * x0 + t * noises[step]
        with torch.set_grad_enabled(torch.is_grad_enabled() and grad_step is not None and step == last):
            times = torch.full(x.shape[:2], t, device=x.device, dtype=x.dtype)
            x0 = x - t * network.predict(x, times, audio, cache)
    with torch.no_grad():
        network.commit(x0.detach(), audio.detach(), cache)
    return x0


def chunk_noise(seed: int, first: int, count: int, width: int, steps: int) -> list[Tensor]:
    """Noise ``[1 count width]`` for each step of a chunk, drawn per latent index.

    Index ``first + i`` gets the same numbers however a stream is cut into calls, which makes a streamed dub equal
    an offline one.
    """
    rows = []
    for index in range(first, first + count):
        generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + index * 0x85EBCA6B) % (2**63))
        rows.append(torch.randn(steps, width, generator=generator))
    stacked = torch.stack(rows, 1)
    return [stacked[step][None] for step in range(steps)]
