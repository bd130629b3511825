"""Batches of mouth states with their sound for small flow networks."""

from __future__ import annotations

import torch

from lipsync_cli.engines.mini.nn.flow_backbone import FlowConfig
from lipsync_cli.training.mini.latents import FlowBatch
from tests.helpers.small_stages import LATENT

FRAMES = 20
SMALL_FLOW = FlowConfig(LATENT, 16, 2, 2, chunk=4, window=8)


def random_batch(count: int = 3, frames: int = FRAMES, latent: int = LATENT) -> FlowBatch:
    """The same random numbers for the same sizes."""
    generator = torch.Generator().manual_seed(5)
    return FlowBatch(
        torch.randn(count, frames, latent, generator=generator),
        torch.randn(count, frames, 32, 80, generator=generator),
        torch.randn(count, 2, latent, generator=generator),
    )
