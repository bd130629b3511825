"""Speech features of Whisper's encoder (Radford et al. 2022): two for every video frame at 25 per second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SAMPLE_RATE = 16_000
STEP = 320
"""Samples behind a feature."""

# OpenAI's name → transformers' name.
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
    """Sizes of the encoder, which hears ``seconds`` at once; the defaults are Whisper small."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    feed_forward: int = 3072
    mels: int = 80
    seconds: int = 30


class WhisperEars(nn.Module):
    """transformers' encoder behind transformers' log-mel features."""

    def __init__(self, encoder: nn.Module, sizes: WhisperSizes) -> None:
        super().__init__()
        from transformers import WhisperFeatureExtractor

        self.encoder, self.sizes = encoder, sizes
        self._mel = WhisperFeatureExtractor(feature_size=sizes.mels, chunk_length=sizes.seconds)

    @torch.no_grad()
    def forward(self, samples: Tensor) -> Tensor:
        """Features ``[n d]`` of 16 kHz samples ``[320·n]``, feature i about sample 320·i; silence fills the rest."""
        if samples.ndim != 1 or len(samples) % STEP or len(samples) > self.sizes.seconds * SAMPLE_RATE:
            raise ValueError(
                f"Whisper hears whole steps of {STEP} samples, at most {self.sizes.seconds} s of them, "
                f"got {tuple(samples.shape)}"
            )
        heard = self._mel(samples.cpu().numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        first = next(self.encoder.parameters())
        out: Tensor = self.encoder(heard.to(first)).last_hidden_state[0]
        return out[: len(samples) // STEP].float()


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
        max_source_positions=sizes.seconds * SAMPLE_RATE // STEP,
    )
    network: nn.Module = WhisperEncoder(config)
    return network


def whisper_tensors(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """The encoder's part of a Whisper checkpoint, OpenAI's or transformers', under the latter's names, in float32."""
    renamed = {}
    for key, value in tensors.items():
        name = key.removeprefix("model.")
        if name.startswith("decoder.") or name == "proj_out.weight":
            continue
        name = name.removeprefix("encoder.")
        for pattern, replacement in _OPENAI:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value.float()
    return renamed
