"""From a model card to the networks of OmniSync: files found, checked, mapped and put on the device."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from lipsync_cli import hub
from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.engines.lip_forcing.generator import Codec
from lipsync_cli.engines.lip_forcing.load import text_context
from lipsync_cli.engines.lip_forcing.weight_roles import ROLES as LIP_FORCING_ROLES
from lipsync_cli.engines.memory import free_bytes
from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.generator import OmniSyncNetworks
from lipsync_cli.engines.omnisync.nn.pixel_codec import PixelCodec
from lipsync_cli.engines.omnisync.nn.transformer import OmniSyncTransformer
from lipsync_cli.engines.omnisync.nn.whisper import WhisperEars
from lipsync_cli.nn.checkpoints import load_strictly
from lipsync_cli.nn.wan.wan_vae import StreamingWanVae, create_wan_vae
from lipsync_cli.nn.whisper import create_whisper, whisper_tensors

Network = TypeVar("Network", bound=nn.Module)

TRANSFORMER = "transformer"


def load_networks(
    card: hub.ModelCard, config: OmniSyncConfig, *, device: torch.device, dtype: torch.dtype
) -> OmniSyncNetworks:
    """All networks of ``card``, verified, with exactly the keys and shapes ``config`` asks for, on ``device``."""
    path = hub.resolve_weights(card, TRANSFORMER)
    codec, ears, text = load_surroundings(card, config, device=device, dtype=dtype)
    transformer = load_strictly(lambda: OmniSyncTransformer(config.transformer()), path)
    return OmniSyncNetworks(transformer.to(device, dtype), codec, ears, text)


def load_surroundings(
    card: hub.ModelCard, config: OmniSyncConfig, *, device: torch.device, dtype: torch.dtype
) -> tuple[Codec, WhisperEars | None, Tensor | None]:
    """What is never trained: autoencoder, speech encoder and text context, the last two None where there is none."""
    text = text_context(card, config, device=device) if config.text_source == "umt5" else None
    ears = None
    if config.speech == "whisper":
        path = hub.resolve_weights(card, "speech")
        encoder = load_strictly(lambda: create_whisper(config.whisper()), path, rename=whisper_tensors)
        ears = WhisperEars(encoder, config.whisper()).to(device)
    if config.codec == "pixels":
        return PixelCodec(config.pixel_fold), ears, text
    path = hub.resolve_weights(card, "wan-vae")
    vae = load_strictly(lambda: create_wan_vae(config.vae_width), path, rename=LIP_FORCING_ROLES["wan-vae"].rename)
    return StreamingWanVae(vae.to(dtype)).to(device), ears, text


def random_networks(
    config: OmniSyncConfig, *, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> OmniSyncNetworks:
    """Networks of the true shapes with random weights: for measuring speed, which does not depend on values."""
    with torch.device(device), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        codec: Codec = PixelCodec(config.pixel_fold)
        if config.codec == "wan":
            codec = _settled(StreamingWanVae(create_wan_vae(config.vae_width)), dtype)
        ears = None
        if config.speech == "whisper":
            ears = WhisperEars(_settled(create_whisper(config.whisper()), torch.float32), config.whisper())
        text = torch.randn(1, config.text_tokens, config.text_width) if config.text_source == "umt5" else None
        with torch.device("meta"):
            made = OmniSyncTransformer(config.transformer())
        transformer = made.to(dtype).to_empty(device=device)
        for parameter in transformer.parameters():
            nn.init.normal_(parameter, std=0.02)
        return OmniSyncNetworks(transformer.requires_grad_(False).eval(), codec, ears, text)


def require_room(config: OmniSyncConfig, *, name: str, device: torch.device, dtype: torch.dtype) -> None:
    """EnvironmentProblem when ``device`` has less free memory than the transformer's weights alone take."""
    with torch.device("meta"):
        weights = sum(p.numel() for p in OmniSyncTransformer(config.transformer()).parameters())
    needed, free = weights * dtype.itemsize, free_bytes(device)
    if free is not None and needed > free:
        raise EnvironmentProblem(
            f"Model {name} needs {needed / 1e9:.1f} GB of memory for its weights in "
            f"{str(dtype).removeprefix('torch.')}, and {device.type} has {free / 1e9:.1f} GB free.",
            hint="Use a larger device or a smaller model.",
        )


def _settled(network: Network, dtype: torch.dtype) -> Network:
    return network.to(dtype).requires_grad_(False).eval()
