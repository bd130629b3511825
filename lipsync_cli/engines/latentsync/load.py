"""From a model card to the networks of LatentSync: files found, checked, mapped and put on the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from lipsync_cli import hub
from lipsync_cli.engines.latentsync.config import LatentSyncConfig
from lipsync_cli.engines.latentsync.generator import LatentSyncNetworks
from lipsync_cli.engines.latentsync.nn.frame_vae import FrameVae, create_vae, vae_tensors
from lipsync_cli.engines.latentsync.nn.speech import WhisperActivations
from lipsync_cli.engines.latentsync.nn.unet import LatentSyncUNet, create_unet
from lipsync_cli.engines.latentsync.nn.unet_keys import unet_tensors
from lipsync_cli.engines.weight_roles import WeightRole, load_role
from lipsync_cli.nn.whisper import create_whisper, whisper_tensors


def roles(config: LatentSyncConfig) -> dict[str, WeightRole]:
    """The networks of a model, by role."""
    return {
        "unet": WeightRole(partial(create_unet, config.unet()), partial(unet_tensors, motion=config.motion)),
        "vae": WeightRole(partial(create_vae, config.vae_widths, config.groups), vae_tensors),
        "whisper": WeightRole(partial(create_whisper, config.whisper()), whisper_tensors),
    }


def load_networks(
    card: hub.ModelCard, config: LatentSyncConfig, *, device: torch.device, dtype: torch.dtype
) -> LatentSyncNetworks:
    """All networks of ``card``, verified, with exactly the keys and shapes ``config`` asks for, on ``device``."""
    loaded = {role: load_role(roles(config), role, hub.resolve_weights(card, role)) for role in roles(config)}
    return LatentSyncNetworks(
        # Cast from outside: diffusers' own networks talk about it.
        unet=LatentSyncUNet(loaded["unet"]).to(device, dtype),
        vae=FrameVae(loaded["vae"]).to(device, dtype),
        speech=WhisperActivations(loaded["whisper"]).to(device),
    )


def random_networks(
    config: LatentSyncConfig, *, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> LatentSyncNetworks:
    """Networks of the true shapes with random weights: for measuring speed, which does not depend on values."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        made = {name: _random(role.create, device) for name, role in roles(config).items()}
    return LatentSyncNetworks(
        unet=LatentSyncUNet(made["unet"]).to(dtype),
        vae=FrameVae(made["vae"]).to(dtype),
        speech=WhisperActivations(made["whisper"]),
    )


def _random(create: Callable[[], nn.Module], device: torch.device) -> Any:
    """On the device at once: a CPU takes a quarter of a minute to draw 1.3 billion numbers as layers do."""
    with torch.device(device):
        return create().requires_grad_(False).eval()
