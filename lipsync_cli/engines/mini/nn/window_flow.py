"""The bidirectional flow network over whole windows: the teacher, and the fake score that follows the student."""

from __future__ import annotations

import torch
from torch import Tensor

from lipsync_cli.engines.mini.nn.flow_backbone import FlowBackbone


class WindowFlow(FlowBackbone):
    """Velocity v(x_t, t | audio, references) where every frame of a window sees every other.

    ``config.window`` + ``config.chunk`` is the furthest distance told apart; windows may be longer.
    """

    def forward(self, noisy: Tensor, t: Tensor, audio: Tensor, references: Tensor) -> Tensor:
        """Velocity ``[b n latent]`` of states ``[b n latent]`` at times ``[b]`` with audio vectors ``[b n d]``."""
        r, n = references.shape[1], noisy.shape[1]
        tokens, reference_condition = self.reference_tokens(references)
        condition = self.time_vector(t[:, None].expand(-1, n)) + audio
        h = torch.cat([tokens, self.state_in(noisy) + audio], 1)
        conditions = torch.cat([reference_condition, condition], 1)
        distance = self._distances(r, n, noisy.device)
        for block in self.block_list():
            q, k, v, modulation = block.project(h, conditions)
            h = block.finish(h, q, k, v, block.bias(distance), modulation)
        return self.velocity_of(h[:, r:], condition)

    def clean(self, noisy: Tensor, t: Tensor, audio: Tensor, references: Tensor) -> Tensor:
        """The predicted clean states x0 = x_t − t·v."""
        velocity: Tensor = self(noisy, t, audio, references)
        return noisy - t[:, None, None] * velocity

    def guided(self, noisy: Tensor, t: Tensor, audio: Tensor, references: Tensor, scale: Tensor | float) -> Tensor:
        """Clean states under classifier-free guidance on the sound: p + (scale − 1)·(p − n), scale ``[b]`` or one.

        n is the prediction with zero audio vectors, as the dropout of training made them (Ho and Salimans 2022).
        """
        both = self.clean(
            torch.cat([noisy, noisy]), torch.cat([t, t]), torch.cat([audio, torch.zeros_like(audio)]),
            torch.cat([references, references]),
        )  # fmt: skip
        positive, negative = both.chunk(2)
        scale = torch.as_tensor(scale, dtype=noisy.dtype, device=noisy.device).expand(len(noisy))
        return positive + (scale[:, None, None] - 1) * (positive - negative)

    def _distances(self, r: int, n: int, device: torch.device) -> Tensor:
        reach = self.config.window + self.config.chunk
        position = torch.arange(n, device=device)
        distance = torch.full((r + n, r + n), 10**6, device=device)
        distance[r:, r:] = (position[:, None] - position[None, :]).clamp(-reach, reach)
        return distance
