"""From a model card to the networks of LatentSync: files found, checked, mapped and put on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lipsync_cli import hub
from lipsync_cli.core.errors import EnvironmentProblem, ModelError
from lipsync_cli.engines.latentsync.config import LatentSyncConfig
from lipsync_cli.engines.latentsync.generator import LatentSyncNetworks
from lipsync_cli.engines.latentsync.nn.frame_vae import FrameVae, create_vae, vae_tensors
from lipsync_cli.engines.latentsync.nn.speech import SpeechEncoder
from lipsync_cli.engines.latentsync.nn.unet import LatentSyncUNet, create_unet
from lipsync_cli.engines.latentsync.nn.unet_keys import unet_tensors
from lipsync_cli.engines.memory import free_bytes
from lipsync_cli.nn.checkpoints import load_strictly
from lipsync_cli.nn.whisper import create_whisper, whisper_tensors


@dataclass(frozen=True, slots=True)
class Role:
    """``create`` builds the network of a file, ``rename`` turns the file's tensors into the network's."""

    create: Callable[[], nn.Module]
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]]


def roles(config: LatentSyncConfig) -> dict[str, Role]:
    """The files of a model."""
    return {
        "unet": Role(partial(create_unet, config.unet()), partial(unet_tensors, motion=config.motion)),
        "vae": Role(partial(create_vae, config.vae_widths, config.groups), vae_tensors),
        "whisper": Role(partial(create_whisper, config.whisper()), whisper_tensors),
    }


def load_role(role: str, config: LatentSyncConfig, path: Path) -> Any:
    """The network of ``role`` with the tensors of ``path``; ModelError lists keys and shapes that do not fit."""
    known = roles(config)
    if role not in known:
        raise ModelError(f"There is no network for the role {role!r}.", hint=f"Roles: {', '.join(known)}.")
    return load_strictly(known[role].create, path, rename=known[role].rename)


def load_networks(
    card: hub.ModelCard, config: LatentSyncConfig, *, device: torch.device, dtype: torch.dtype
) -> LatentSyncNetworks:
    """All networks of ``card``, verified, with exactly the keys and shapes ``config`` asks for, on ``device``."""
    loaded = {role: load_role(role, config, hub.resolve_weights(card, role)) for role in roles(config)}
    return LatentSyncNetworks(
        # Cast from outside: diffusers' own networks talk about it.
        unet=LatentSyncUNet(loaded["unet"]).to(device, dtype),
        vae=FrameVae(loaded["vae"]).to(device, dtype),
        speech=SpeechEncoder(loaded["whisper"]).to(device),
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
        speech=SpeechEncoder(made["whisper"]),
    )


def require_files(card: hub.ModelCard, config: LatentSyncConfig) -> None:
    """ModelError unless every file is there and is what the card says."""
    for role in roles(config):
        hub.resolve_weights(card, role)


def require_room(config: LatentSyncConfig, *, name: str, device: torch.device, dtype: torch.dtype) -> None:
    """EnvironmentProblem when ``device`` has less free memory than the weights take.

    That is the least a model needs; what it computes with comes on top.
    """
    free, needed = free_bytes(device), needed_bytes(config, dtype)
    if free is None or needed <= free:
        return
    raise EnvironmentProblem(
        f"Model {name} needs {needed / 1e9:.1f} GB of memory for its weights in "
        f"{str(dtype).removeprefix('torch.')}, and {device.type} has {free / 1e9:.1f} GB free.",
        hint="Use a larger device or a smaller model; lipsync models cost counts what a model needs.",
    )


def needed_bytes(config: LatentSyncConfig, dtype: torch.dtype) -> float:
    """Bytes of the weights with arithmetic of ``dtype``; speech is float32 always."""
    from lipsync_cli.engines.latentsync.cost import memory_bytes

    return sum(memory_bytes(config, bytes_per_weight=dtype.itemsize).values())


def _random(create: Callable[[], nn.Module], device: torch.device) -> Any:
    """On the device at once: a CPU takes a quarter of a minute to draw 1.3 billion numbers as layers do."""
    with torch.device(device):
        return create().requires_grad_(False).eval()
