"""A constant prompt as a network wants it: read by UMT5 once, and kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lipsync_cli import hub
from lipsync_cli.core.errors import ModelError
from lipsync_cli.hub.files import cache_folder
from lipsync_cli.nn.checkpoints import load_strictly, read_tensors
from lipsync_cli.nn.wan.umt5 import TextSizes, create_umt5, encode_tokens, tokenize, umt5_tensors


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


def _read_text(path: Path, config: Prompted) -> Tensor:
    tensors = load_file(path) if path.suffix == ".safetensors" else read_tensors(path)
    context = next((tensors[name] for name in ("context", "text_emb", "prompt_emb") if name in tensors), None)
    shape = (1, config.text_tokens, config.text_width)
    if context is None or tuple(context.shape[-2:]) != shape[1:]:
        found = "none" if context is None else "×".join(map(str, context.shape))
        raise ModelError(f"{path} should hold a text context of {'×'.join(map(str, shape))} values, it has {found}.")
    return context.reshape(shape)
