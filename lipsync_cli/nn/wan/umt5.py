"""The text context of Wan: the prompt read by UMT5-XXL. Lip Forcing always says the same, so this runs once."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lipsync_cli.core.errors import ModelError

PROMPT = "a person talking"
TOKENS = 512

# Original name → transformers' name, inside a block and outside.
_BLOCK = {
    "norm1.": "layer.0.layer_norm.",
    "norm2.": "layer.1.layer_norm.",
    "attn.": "layer.0.SelfAttention.",
    "pos_embedding.embedding.": "layer.0.SelfAttention.relative_attention_bias.",
    "ffn.gate.0.": "layer.1.DenseReluDense.wi_0.",
    "ffn.fc1.": "layer.1.DenseReluDense.wi_1.",
    "ffn.fc2.": "layer.1.DenseReluDense.wo.",
}
_OUTSIDE = {"token_embedding.": "shared.", "norm.": "encoder.final_layer_norm."}


@dataclass(frozen=True, slots=True)
class TextSizes:
    """Sizes of the encoder; the defaults are UMT5-XXL."""

    width: int = 4096
    feed_forward: int = 10240
    layers: int = 24
    heads: int = 64
    vocabulary: int = 256384


def create_umt5(sizes: TextSizes) -> nn.Module:
    """transformers' encoder with unloaded weights."""
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=sizes.vocabulary,
        d_model=sizes.width,
        d_kv=64,
        d_ff=sizes.feed_forward,
        num_layers=sizes.layers,
        num_heads=sizes.heads,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
    network: nn.Module = UMT5EncoderModel(config)
    return network


def umt5_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the original checkpoint under transformers' names."""
    renamed = {_umt5_key(key): value for key, value in tensors.items()}
    # transformers ties a second name to the embedding.
    return renamed | {"encoder.embed_tokens.weight": renamed.get("shared.weight", torch.zeros(0))}


def _umt5_key(key: str) -> str:
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", key)
    if not match:
        return next((new + key.removeprefix(old) for old, new in _OUTSIDE.items() if key.startswith(old)), key)
    inner = next(
        (new + match[2].removeprefix(old) for old, new in _BLOCK.items() if match[2].startswith(old)), match[2]
    )
    return f"encoder.block.{match[1]}.{inner}"


def clean_prompt(prompt: str) -> str:
    """The prompt as Wan cleans it: entities decoded twice, runs of white space made one space."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(prompt))).strip()


def tokenize(prompt: str, tokenizer_json: Path) -> list[int]:
    """Token numbers of a prompt, the end mark included, by a ``tokenizer.json``."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_json))
    except Exception as error:  # the library raises bare exceptions
        raise ModelError(f"{tokenizer_json} is no readable tokenizer: {error}") from error
    return list(tokenizer.encode(clean_prompt(prompt)).ids)[:TOKENS]


@torch.inference_mode()
def encode_tokens(network: nn.Module, ids: list[int], tokens: int = TOKENS) -> Tensor:
    """Context ``[1 tokens d]`` in float32; rows beyond the prompt are exactly zero.

    Blocks whose weights are in half precision are widened one at a time, so that the arithmetic is float32
    without ever holding all weights so.
    """
    encoder: Any = network
    handles = []
    for block in (*encoder.encoder.block, encoder.encoder.final_layer_norm):
        kind = next(block.parameters()).dtype
        handles.append(block.register_forward_pre_hook(lambda module, args: module.float() and None))
        handles.append(block.register_forward_hook(lambda module, args, out, kind=kind: module.to(kind) and None))
    device = encoder.shared.weight.device
    try:
        embedded = encoder.shared(torch.tensor([ids], device=device)).float()
        out = encoder.encoder(inputs_embeds=embedded).last_hidden_state
    finally:
        for handle in handles:
            handle.remove()
    context = torch.zeros(1, tokens, out.shape[-1], device=device)
    context[:, : len(ids)] = out
    return context
