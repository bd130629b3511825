"""What OmniSync costs, counted by running it on shapes alone."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.nn.transformer import OmniCondition, OmniSyncTransformer
from lipsync_cli.nn.wan.wan_vae import StreamingWanVae, create_wan_vae


def flops_per_frame(config: OmniSyncConfig) -> float:
    """Operations behind a picture of the steady state: passes of the transformer, encoding and decoding.

    The speech encoder, which hears each window once, is left out: it is far below a hundredth of a pass.
    """
    window = config.sampler().passes() * transformer_flops(config) + codec_flops(config)
    return window / config.chunk_frames


def transformer_flops(config: OmniSyncConfig) -> float:
    """Operations of one pass over a window."""
    sizes, size = config.transformer(), config.latent_size
    with torch.device("meta"):
        network = OmniSyncTransformer(sizes).requires_grad_(False)
        x = torch.empty(1, config.window, sizes.channels, size, size)
        audio = torch.empty(1, config.window, sizes.audio_tokens, sizes.audio_width)
        text = torch.empty(1, config.text_tokens, sizes.text_width) if config.text_source == "umt5" else None
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(x, torch.empty(1), OmniCondition(x, audio, text))
    return float(counter.get_total_flops())


def codec_flops(config: OmniSyncConfig) -> float:
    """Operations of encoding and decoding what a window adds."""
    if config.codec != "wan":
        return 0.0
    new = config.window - config.overlap
    with torch.device("meta"):
        vae = StreamingWanVae(create_wan_vae(config.vae_width)).requires_grad_(False)
        latents = torch.empty(1, 2, 16, config.latent_size, config.latent_size)
        pictures = torch.empty(1, 5, 3, config.crop_size, config.crop_size)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            vae.encode(pictures, vae.begin())
            vae.decode(latents, vae.begin())
    # Of the two latent frames that were counted the first holds a single picture: a quarter of the other.
    return float(counter.get_total_flops()) * new / 1.25
