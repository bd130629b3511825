"""What OmniSync costs, counted by running it on shapes alone."""

from __future__ import annotations

import torch

from lipsync_cli.engines.cost import ModelCost, StageCost, count_flops
from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.nn.transformer import OmniCondition, OmniSyncTransformer
from lipsync_cli.nn.wan.wan_vae import StreamingWanVae, create_wan_vae


def model_cost(config: OmniSyncConfig, *, bytes_per_weight: float = 2.0) -> ModelCost:
    """Costs of what a window adds: passes of the transformer, encoding and decoding.

    The speech encoder, which hears each window once, is left out: it is far below a hundredth of a pass.
    """
    passes, size = config.sampler().passes(), bytes_per_weight * transformer_parameters(config)
    stages = (
        StageCost("transformer", passes * transformer_flops(config), passes * size, size),
        StageCost("codec", codec_flops(config), 0.0, 0.0),
    )
    return ModelCost(config.chunk_frames, stages, {"transformer weights": size})


def transformer_parameters(config: OmniSyncConfig) -> int:
    """Weights of the transformer."""
    with torch.device("meta"):
        return sum(p.numel() for p in OmniSyncTransformer(config.transformer()).parameters())


def transformer_flops(config: OmniSyncConfig) -> float:
    """Operations of one pass over a window."""
    sizes, size = config.transformer(), config.latent_size
    with torch.device("meta"):
        network = OmniSyncTransformer(sizes).requires_grad_(False)
        x = torch.empty(1, config.window, sizes.channels, size, size)
        audio = torch.empty(1, config.window, sizes.audio_tokens, sizes.audio_width)
        text = torch.empty(1, config.text_tokens, sizes.text_width) if config.text_source == "umt5" else None
        with torch.no_grad():
            return count_flops(lambda: network(x, torch.empty(1), OmniCondition(x, audio, text)))


def codec_flops(config: OmniSyncConfig) -> float:
    """Operations of encoding and decoding what a window adds."""
    if config.codec != "wan":
        return 0.0
    new = config.window - config.overlap
    with torch.device("meta"):
        vae = StreamingWanVae(create_wan_vae(config.vae_width)).requires_grad_(False)
        latents = torch.empty(1, 2, 16, config.latent_size, config.latent_size)
        pictures = torch.empty(1, 5, 3, config.crop_size, config.crop_size)
        with torch.no_grad():
            counted = count_flops(lambda: (vae.encode(pictures, vae.begin()), vae.decode(latents, vae.begin())))
    # Of the two latent frames that were counted the first holds a single picture: a quarter of the other.
    return counted * new / 1.25
