"""Whisper's encoder (Radford et al. 2022) as transformers builds it, and the names of its tensors in public files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from lipsync_cli.core.types import SPEECH_RATE

SAMPLES_PER_POSITION = 320
"""50 positions a second, two for each frame at 25 frames per second."""
COLUMNS_PER_POSITION = 2

# OpenAI's name → transformers'.
_OPENAI = (
    (r"^positional_embedding$", "embed_positions.weight"),
    (r"^ln_post\.", "layer_norm."),
    (r"^blocks\.(\d+)\.attn_ln\.", r"layers.\1.self_attn_layer_norm."),
    (r"^blocks\.(\d+)\.mlp_ln\.", r"layers.\1.final_layer_norm."),
    (r"^blocks\.(\d+)\.attn\.query\.", r"layers.\1.self_attn.q_proj."),
    (r"^blocks\.(\d+)\.attn\.key\.", r"layers.\1.self_attn.k_proj."),
    (r"^blocks\.(\d+)\.attn\.value\.", r"layers.\1.self_attn.v_proj."),
    (r"^blocks\.(\d+)\.attn\.out\.", r"layers.\1.self_attn.out_proj."),
    (r"^blocks\.(\d+)\.mlp\.0\.", r"layers.\1.fc1."),
    (r"^blocks\.(\d+)\.mlp\.2\.", r"layers.\1.fc2."),
)


@dataclass(frozen=True, slots=True)
class WhisperSizes:
    """Sizes of the encoder, which hears ``positions`` at once; the defaults are those of Whisper tiny."""

    width: int = 384
    layers: int = 4
    heads: int = 6
    feed_forward: int = 1536
    mels: int = 80
    positions: int = 1500

    @property
    def seconds(self) -> int:
        """What is heard at once."""
        return self.positions * SAMPLES_PER_POSITION // SPEECH_RATE


def create_whisper(sizes: WhisperSizes) -> nn.Module:
    """transformers' encoder with unloaded weights."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=sizes.width,
        encoder_layers=sizes.layers,
        encoder_attention_heads=sizes.heads,
        encoder_ffn_dim=sizes.feed_forward,
        num_mel_bins=sizes.mels,
        max_source_positions=sizes.positions,
    )
    network: nn.Module = WhisperEncoder(config)
    return network


def whisper_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's part of a checkpoint, OpenAI's or transformers', under the latter's names, in float32."""
    renamed = {}
    for key, value in tensors.items():
        name = key.removeprefix("model.")
        if not name.startswith("encoder."):
            continue
        name = name.removeprefix("encoder.")
        for pattern, replacement in _OPENAI:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value.float()
    return renamed
