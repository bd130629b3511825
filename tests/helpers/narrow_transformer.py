"""A transformer small enough for any machine, with weights that make everything depend on everything."""

from __future__ import annotations

import torch

from lipsync_cli.engines.lip_forcing.nn.transformer import ChunkCondition, LipForcingTransformer
from lipsync_cli.nn.wan.config import CONDITION_CHANNELS, LATENT_CHANNELS, TransformerConfig

CONFIG = TransformerConfig(
    width=48, feed_forward=80, layers=6, heads=2, text_width=20, audio_features=10, audio_width=8, time_frequencies=16
)
SIZE = (4, 6)


def make_transformer(config: TransformerConfig = CONFIG, seed: int = 0, **options) -> LipForcingTransformer:
    torch.manual_seed(seed)
    return LipForcingTransformer(config, **options).eval()


def make_condition(frames: int, seed: int = 1, config: TransformerConfig = CONFIG, batch: int = 1) -> ChunkCondition:
    generator = torch.Generator().manual_seed(seed)
    visual = torch.randn(batch, frames, CONDITION_CHANNELS, *SIZE, generator=generator)
    return ChunkCondition(visual, torch.randn(batch, frames, 4 * config.audio_features, generator=generator))


def make_latents(frames: int, seed: int = 2, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, frames, LATENT_CHANNELS, *SIZE, generator=torch.Generator().manual_seed(seed))


def make_text(seed: int = 3, batch: int = 1, config: TransformerConfig = CONFIG) -> torch.Tensor:
    return torch.randn(batch, 5, config.text_width, generator=torch.Generator().manual_seed(seed))


def part(condition: ChunkCondition, frames: slice) -> ChunkCondition:
    return ChunkCondition(condition.visual[:, frames], condition.speech[:, frames])
