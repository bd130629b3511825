"""The only rollout: how a chunk is denoised in few steps and becomes the past of the next one.

Inference and training call the same function; training passes ``grad_step`` to stop at one step of the schedule
and keep the gradient of that step alone (Self-Forcing). Rectified flow: x_t = (1 − t)·x0 + t·ε, the network
predicts v = ε − x0, hence x0 = x_t − t·v. Steps after the first start from the last x0 under fresh noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Condition = TypeVar("Condition", contravariant=True)
Cache = TypeVar("Cache", contravariant=True)


class ChunkFlow(Protocol[Condition, Cache]):
    """What the rollout needs of a network; condition and cache are its own affair."""

    def predict(self, x: Tensor, t: Tensor, condition: Condition, cache: Cache, /) -> Tensor:
        """Velocity like ``x`` ``[b n ...]`` at times ``t`` ``[b n]``."""
        ...

    def commit(self, x0: Tensor, condition: Condition, cache: Cache, /) -> None:
        """Make a finished chunk the past."""
        ...


def roll_chunk(
    network: ChunkFlow[Condition, Cache],
    cache: Cache,
    condition: Condition,
    noises: Sequence[Tensor],
    schedule: Sequence[float],
    *,
    grad_step: int | None = None,
    first_scale: float | None = None,
) -> Tensor:
    """Denoise one chunk and commit it; returns x0 ``[b n ...]`` in the type of the noise.

    ``noises`` holds one standard normal tensor of that shape per entry of ``schedule`` (times in (0, 1],
    falling). The first is multiplied by ``first_scale``, by default the first time, as x_t asks; the release of
    Lip Forcing leaves it at 1. With ``grad_step`` = i the result is the x0 predicted at step i, the only step
    with a gradient.
    """
    last = len(schedule) - 1 if grad_step is None else grad_step
    scale = schedule[0] if first_scale is None else first_scale
    x, x0 = scale * noises[0], torch.zeros_like(noises[0])
    # In half precision a time such as 0.999 would be rounded to 1.
    wide = torch.promote_types(x.dtype, torch.float32)
    for step, t in enumerate(schedule[: last + 1]):
        if step:
            x = (1 - t) * x0 + t * noises[step]
        with torch.set_grad_enabled(torch.is_grad_enabled() and grad_step is not None and step == last):
            times = torch.full(x.shape[:2], t, device=x.device, dtype=wide)
            x0 = (x.to(wide) - t * network.predict(x, times, condition, cache).to(wide)).to(x.dtype)
    with torch.no_grad():
        network.commit(x0.detach(), condition, cache)
    return x0


def chunk_noise(
    seed: int,
    first: int,
    count: int,
    shape: int | Sequence[int],
    steps: int,
    *,
    temperature: Sequence[float] | None = None,
) -> list[Tensor]:
    """Noise ``[1 count *shape]`` for each step of a chunk, drawn per latent index and scaled by its ``temperature``.

    Index ``first + i`` gets the same numbers however a stream is cut into calls, which makes a streamed dub equal
    an offline one.
    """
    size = (shape,) if isinstance(shape, int) else tuple(shape)
    rows = []
    for index in range(first, first + count):
        generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + index * 0x85EBCA6B) % (2**63))
        rows.append(torch.randn(steps, *size, generator=generator))
    stacked = torch.stack(rows, 1)
    scales = [1.0] * steps if temperature is None else temperature
    return [scale * noise[None] for scale, noise in zip(scales, stacked, strict=True)]
