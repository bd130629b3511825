"""One forward pass shared by several processes: each has a part of every frame's tokens and all of the weights.

Self-attention is over all tokens, so around it the parts are exchanged for heads: every process then has all tokens
of some of the heads, and keeps the past of those alone. Everything else works on tokens one by one. The sums are the
same as on one device. Jacobs et al. (2023), "DeepSpeed Ulysses".
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class TokenSplit:
    """This process's share of a pass, in torch.distributed's default group."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def own(self, tokens: Tensor) -> Tensor:
        """This process's part ``[b f n/p ...]`` of all tokens ``[b f n ...]``."""
        return tokens.chunk(self.size, 2)[self.rank]

    def to_heads(self, *parts: Tensor) -> tuple[Tensor, ...]:
        """From some tokens of all heads ``[b f n/p h c]`` to all tokens of some heads ``[b f n h/p c]``."""
        # One exchange for all of them: destination, part, batch, frame, token, head, channel.
        sent = torch.stack([torch.unflatten(part, 3, (self.size, -1)).movedim(3, 0) for part in parts], 1)
        got = self._exchange(sent).movedim(0, 3)
        return tuple(part.flatten(2, 3) for part in got.unbind(0))

    def to_tokens(self, attended: Tensor, frames: int) -> Tensor:
        """From all tokens of some heads ``[b f·n h/p c]`` to some tokens of all heads ``[b f·n/p h c]``."""
        b = attended.shape[0]
        by_owner = attended.reshape(b, frames, self.size, -1, *attended.shape[2:])
        got = self._exchange(by_owner.movedim(2, 0))
        return got.movedim(0, 3).flatten(3, 4).flatten(1, 2)

    def whole(self, own: Tensor) -> Tensor:
        """All tokens ``[b f n ...]`` from each process's ``[b f n/p ...]``."""
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts, 2)

    @staticmethod
    def _exchange(sent: Tensor) -> Tensor:
        """Row i goes to process i; row i of the result came from there."""
        sent = sent.contiguous()
        got = torch.empty_like(sent)
        dist.all_to_all_single(got, sent)
        return got
