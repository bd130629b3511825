"""From a model card to the networks of Lip Forcing: files found, checked, mapped and put on the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from lipsync_cli import hub
from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
from lipsync_cli.engines.lip_forcing.generator import LipForcingNetworks
from lipsync_cli.engines.lip_forcing.nn.cuda_graph import as_it_is, cuda_graph
from lipsync_cli.engines.lip_forcing.nn.float8 import use_float8
from lipsync_cli.engines.lip_forcing.nn.speech import Wav2Vec2Features
from lipsync_cli.engines.lip_forcing.nn.transformer import LipForcingTransformer
from lipsync_cli.engines.lip_forcing.parallel.ranks import SharedTransformer
from lipsync_cli.engines.lip_forcing.weight_roles import roles
from lipsync_cli.engines.text_context import text_context
from lipsync_cli.engines.weight_roles import load_role
from lipsync_cli.nn.random_weights import random_network, settled
from lipsync_cli.nn.wan.codec import Codec
from lipsync_cli.nn.wan.taew import Taew
from lipsync_cli.nn.wan.wan_vae import StreamingWanVae


def load_networks(
    card: hub.ModelCard, config: LipForcingConfig, *, device: torch.device, dtype: torch.dtype
) -> LipForcingNetworks:
    """All networks of ``card``, verified, with exactly the keys and shapes ``config`` asks for, on ``device``.

    The files are those of ``needed_roles``. The text comes first: its encoder is large and is let go before the
    transformer is loaded.
    """
    text = text_context(card, config, device=device)
    speech = Wav2Vec2Features(_load(card, "speech", config)).settle()
    codecs = {role: _codec(card, config, role, device, dtype) for role in {config.encoder, config.decoder}}
    return LipForcingNetworks(
        transformer=_load(card, "transformer", config).to(device, dtype),
        encoder=codecs[config.encoder],
        decoder=codecs[config.decoder],
        speech=speech.to(device),
        text=text,
    )


@dataclass(frozen=True, slots=True)
class Speed:
    """What may be asked for to be faster.

    ``float8``: linear layers in eight bits. ``compile``: torch's compiler, a slow start. ``graphs``: a pass over a
    full window is recorded and replayed. ``devices``: how many share every pass.
    """

    float8: bool = False
    compile: bool = False
    graphs: bool = False
    devices: int = 1


def accelerate(networks: LipForcingNetworks, speed: Speed) -> LipForcingNetworks:
    """``networks`` made faster, its transformer in place; ``check_speed`` says what can be asked for."""
    network = networks.transformer
    assert isinstance(network, LipForcingTransformer)
    if speed.devices > 1:  # before weights are rounded: helpers get them as they are
        shared = SharedTransformer(network, speed.devices, float8=speed.float8, compile=speed.compile)
        networks = replace(networks, transformer=shared)
    if speed.float8:
        use_float8(network)
    if speed.compile:
        network.compile_parts()
    if speed.graphs:
        network.record_steady(cuda_graph if network.device.type == "cuda" else as_it_is)
    return networks


def check_speed(config: LipForcingConfig, speed: Speed) -> None:
    """UsageError for a number of devices by which the work cannot be divided."""
    if speed.devices > 1 and (config.heads % speed.devices or config.tokens % speed.devices):
        raise UsageError(
            f"{config.heads} attention heads and {config.tokens} tokens cannot be shared by {speed.devices} devices.",
            hint="Use a number of devices that divides both.",
        )


def random_networks(
    config: LipForcingConfig, *, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> LipForcingNetworks:
    """Networks of the true shapes with random weights: for measuring speed, which does not depend on values."""
    with torch.device(device), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        codecs: dict[str, Codec] = {}
        if "wan" in (config.encoder, config.decoder):
            codecs["wan"] = settled(StreamingWanVae(roles(config)["wan-vae"].create()), dtype)
        if "taew" in (config.encoder, config.decoder):
            codecs["taew"] = settled(Taew(config.taew_width), taew_type(device, dtype))
        return LipForcingNetworks(
            transformer=random_network(lambda: LipForcingTransformer(config.transformer()), device, dtype),
            encoder=codecs[config.encoder],
            decoder=codecs[config.decoder],
            speech=settled(Wav2Vec2Features(roles(config)["speech"].create()).settle(), torch.float32),
            text=torch.randn(1, config.text_tokens, config.text_width),
        )


def needed_roles(config: LipForcingConfig) -> tuple[str, ...]:
    """The roles whose files are always needed; the text's may be cached."""
    codecs = {"wan-vae" if codec == "wan" else "taew" for codec in (config.encoder, config.decoder)}
    return ("transformer", "speech", *sorted(codecs))


def taew_type(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """TAEW is published and run in float16; on a CPU it has the arithmetic of the rest."""
    return torch.float16 if device.type == "cuda" and dtype != torch.float32 else dtype


def _codec(
    card: hub.ModelCard, config: LipForcingConfig, role: str, device: torch.device, dtype: torch.dtype
) -> StreamingWanVae | Taew:
    if role == "taew":
        taew: Taew = _load(card, "taew", config)
        return taew.to(device, taew_type(device, dtype))
    return StreamingWanVae(_load(card, "wan-vae", config).to(dtype)).to(device)


def _load(card: hub.ModelCard, role: str, config: LipForcingConfig) -> Any:
    return load_role(roles(config), role, hub.resolve_weights(card, role))
