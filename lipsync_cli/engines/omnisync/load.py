"""From a model card to the networks of OmniSync: files found, checked, mapped and put on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from lipsync_cli import hub
from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.generator import OmniSyncNetworks
from lipsync_cli.engines.omnisync.nn.pixel_codec import PixelCodec
from lipsync_cli.engines.omnisync.nn.transformer import OmniSyncTransformer
from lipsync_cli.engines.omnisync.nn.whisper import WhisperFeatures
from lipsync_cli.engines.text_context import text_context
from lipsync_cli.nn.checkpoints import load_strictly
from lipsync_cli.nn.random_weights import random_network, settled
from lipsync_cli.nn.wan.codec import Codec
from lipsync_cli.nn.wan.wan_vae import StreamingWanVae, create_wan_vae, wan_vae_tensors
from lipsync_cli.nn.whisper import create_whisper, whisper_tensors

TRANSFORMER = "transformer"


def load_networks(
    card: hub.ModelCard, config: OmniSyncConfig, *, device: torch.device, dtype: torch.dtype
) -> OmniSyncNetworks:
    """All networks of ``card``, verified, with exactly the keys and shapes ``config`` asks for, on ``device``."""
    path = hub.resolve_weights(card, TRANSFORMER)
    codec, speech, text = load_frozen(card, config, device=device, dtype=dtype)
    transformer = load_strictly(lambda: OmniSyncTransformer(config.transformer()), path)
    return OmniSyncNetworks(transformer.to(device, dtype), codec, speech, text)


def load_frozen(
    card: hub.ModelCard, config: OmniSyncConfig, *, device: torch.device, dtype: torch.dtype
) -> tuple[Codec, WhisperFeatures | None, Tensor | None]:
    """What is never trained: autoencoder, speech encoder and text context, the last two None where there is none."""
    text = text_context(card, config, device=device) if config.text_source == "umt5" else None
    speech = None
    if config.speech == "whisper":
        path = hub.resolve_weights(card, "speech")
        encoder = load_strictly(lambda: create_whisper(config.whisper()), path, rename=whisper_tensors)
        speech = WhisperFeatures(encoder, config.whisper()).to(device)
    if config.codec == "pixels":
        return PixelCodec(config.pixel_fold), speech, text
    path = hub.resolve_weights(card, "wan-vae")
    vae = load_strictly(lambda: create_wan_vae(config.vae_width), path, rename=wan_vae_tensors)
    return StreamingWanVae(vae.to(dtype)).to(device), speech, text


def random_networks(
    config: OmniSyncConfig, *, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> OmniSyncNetworks:
    """Networks of the true shapes with random weights: for measuring speed, which does not depend on values."""
    with torch.device(device), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        codec: Codec = PixelCodec(config.pixel_fold)
        if config.codec == "wan":
            codec = settled(StreamingWanVae(create_wan_vae(config.vae_width)), dtype)
        speech = None
        if config.speech == "whisper":
            speech = WhisperFeatures(settled(create_whisper(config.whisper()), torch.float32), config.whisper())
        text = torch.randn(1, config.text_tokens, config.text_width) if config.text_source == "umt5" else None
        transformer = random_network(lambda: OmniSyncTransformer(config.transformer()), device, dtype)
        return OmniSyncNetworks(transformer, codec, speech, text)
