"""From a model card to the networks of Lip Forcing: files found, checked, mapped and put on the device."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lipsync_cli import hub
from lipsync_cli.core.errors import ModelError, UsageError
from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
from lipsync_cli.engines.lip_forcing.generator import Codec, LipForcingNetworks
from lipsync_cli.engines.lip_forcing.nn.cuda_graph import as_it_is, cuda_graph
from lipsync_cli.engines.lip_forcing.nn.float8 import use_float8
from lipsync_cli.engines.lip_forcing.nn.speech import SpeechEncoder
from lipsync_cli.engines.lip_forcing.nn.transformer import LipForcingTransformer
from lipsync_cli.engines.lip_forcing.parallel.ranks import SharedTransformer
from lipsync_cli.engines.lip_forcing.weight_roles import ROLES, load_role
from lipsync_cli.hub.files import cache_folder
from lipsync_cli.nn.checkpoints import load_strictly, read_tensors
from lipsync_cli.nn.wan.taew import Taew
from lipsync_cli.nn.wan.umt5 import TextSizes, create_umt5, encode_tokens, tokenize, umt5_tensors
from lipsync_cli.nn.wan.wan_vae import StreamingWanVae

Network = TypeVar("Network", bound=nn.Module)


def load_networks(
    card: hub.ModelCard, config: LipForcingConfig, *, device: torch.device, dtype: torch.dtype
) -> LipForcingNetworks:
    """All networks of ``card``, verified, with exactly the keys and shapes ``config`` asks for, on ``device``.

    The files are those of ``require_files``. The text comes first: its encoder is large and is let go before the
    transformer is loaded.
    """
    text = text_context(card, config, device=device)
    speech = SpeechEncoder(_load(card, "speech", config)).settle()
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
    """UsageError for what does not go together, or a number of devices by which the work cannot be divided."""
    if speed.devices > 1 and (config.heads % speed.devices or config.tokens % speed.devices):
        raise UsageError(
            f"{config.heads} attention heads and {config.tokens} tokens cannot be shared by {speed.devices} devices.",
            hint="Use a number of devices that divides both.",
        )
    if speed.devices > 1 and speed.graphs:
        raise UsageError("Passes that several devices share are not recorded.", hint="Leave out graphs or devices.")


def random_networks(
    config: LipForcingConfig, *, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> LipForcingNetworks:
    """Networks of the true shapes with random weights: for measuring speed, which does not depend on values."""
    with torch.device(device), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        codecs: dict[str, Codec] = {}
        if "wan" in (config.encoder, config.decoder):
            codecs["wan"] = _settled(StreamingWanVae(ROLES["wan-vae"].create(config)), dtype)
        if "taew" in (config.encoder, config.decoder):
            codecs["taew"] = _settled(Taew(config.taew_width), taew_type(device, dtype))
        return LipForcingNetworks(
            transformer=_random(lambda: LipForcingTransformer(config.transformer()), device, dtype),
            encoder=codecs[config.encoder],
            decoder=codecs[config.decoder],
            speech=_settled(SpeechEncoder(ROLES["speech"].create(config)).settle(), torch.float32),
            text=torch.randn(1, config.text_tokens, config.text_width),
        )


def require_files(card: hub.ModelCard, config: LipForcingConfig) -> None:
    """ModelError unless every file that is always needed is there and is what the card says."""
    for role in ("transformer", "speech", *_codec_roles(config)):
        hub.resolve_weights(card, role)


class Prompted(Protocol):
    """A configuration of any model that reads a constant prompt."""

    @property
    def prompt(self) -> str: ...

    @property
    def text_tokens(self) -> int: ...

    @property
    def text_width(self) -> int: ...

    def text(self) -> TextSizes: ...


def text_context(card: hub.ModelCard, config: Prompted, *, device: torch.device) -> Tensor:
    """The prompt as the network wants it, ``[1 l d]``: from the card's file, from the cache, or read by UMT5 now."""
    if any(weights.role == "text" for weights in card.weights):
        return _read_text(hub.resolve_weights(card, "text"), config)
    cached = text_cache(card, config)
    if cached.is_file():
        return _read_text(cached, config)
    context = encode_text(card, config, device=device)
    cached.parent.mkdir(parents=True, exist_ok=True)
    partial = cached.with_name(f"{cached.name}.{os.getpid()}.part")
    save_file({"context": context.to(torch.bfloat16)}, partial)
    partial.replace(cached)
    return _read_text(cached, config)


def text_cache(card: hub.ModelCard, config: Prompted) -> Path:
    """Where the encoded prompt is kept: its name follows from the encoder's files and the prompt."""
    parts = [config.prompt, str(config.text_tokens)]
    parts += sorted(weights.sha256 for weights in card.weights if weights.role in ("umt5", "tokenizer"))
    return cache_folder() / "text" / (hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24] + ".safetensors")


def encode_text(card: hub.ModelCard, config: Prompted, *, device: torch.device) -> Tensor:
    """The prompt read by UMT5, float32 ``[1 l d]`` on the CPU; needs room for the encoder's weights on ``device``."""
    ids = tokenize(config.prompt, hub.resolve_weights(card, "tokenizer"))
    path = hub.resolve_weights(card, "umt5")
    encoder = load_strictly(lambda: create_umt5(config.text()), path, rename=umt5_tensors)
    return encode_tokens(encoder.to(device), ids, config.text_tokens).cpu()


def taew_type(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """TAEW is published and run in float16; on a CPU it has the arithmetic of the rest."""
    return torch.float16 if device.type == "cuda" and dtype != torch.float32 else dtype


def _codec_roles(config: LipForcingConfig) -> set[str]:
    return {"wan-vae" if codec == "wan" else "taew" for codec in (config.encoder, config.decoder)}


def _codec(
    card: hub.ModelCard, config: LipForcingConfig, role: str, device: torch.device, dtype: torch.dtype
) -> StreamingWanVae | Taew:
    if role == "taew":
        taew: Taew = _load(card, "taew", config)
        return taew.to(device, taew_type(device, dtype))
    return StreamingWanVae(_load(card, "wan-vae", config).to(dtype)).to(device)


def _load(card: hub.ModelCard, role: str, config: LipForcingConfig) -> Any:
    return load_role(role, config, hub.resolve_weights(card, role))


def _read_text(path: Path, config: Prompted) -> Tensor:
    tensors = load_file(path) if path.suffix == ".safetensors" else read_tensors(path)
    context = next((tensors[name] for name in ("context", "text_emb", "prompt_emb") if name in tensors), None)
    shape = (1, config.text_tokens, config.text_width)
    if context is None or tuple(context.shape[-2:]) != shape[1:]:
        found = "none" if context is None else "×".join(map(str, context.shape))
        raise ModelError(f"{path} should hold a text context of {'×'.join(map(str, shape))} values, it has {found}.")
    return context.reshape(shape)


def _settled(network: Network, dtype: torch.dtype) -> Network:
    return network.to(dtype).requires_grad_(False).eval()


def _random(network: Callable[[], Network], device: torch.device, dtype: torch.dtype) -> Network:
    """Allocated once, in its final type: 14 billion float32 values would not fit beside it."""
    with torch.device("meta"):
        made = network()
    made = made.to(dtype).to_empty(device=device)
    for parameter in made.parameters():
        # Small enough that activations stay finite through any number of layers.
        torch.nn.init.normal_(parameter, std=0.02)
    return made.requires_grad_(False).eval()
