"""Speech features of Lip Forcing: every layer of wav2vec 2.0 at 25 steps a second, one step for each video frame.

The convolutional front end gives 2n − 1 steps for n video frames of sound; every second one is kept, which is what
the linear interpolation of the original comes to, so step k hears the samples 640·k … 640·k + 399. The transformer
then runs at 25 Hz. Its layers see the whole input, hence features depend on how much sound is given at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

SAMPLES_PER_FRAME = 640
"""At 16 kHz and 25 frames per second."""
FEATURE_EXTRACTOR_VARIANCE = 1e-7

_WEIGHT_NORM = {
    "pos_conv_embed.conv.weight_g": "pos_conv_embed.conv.parametrizations.weight.original0",
    "pos_conv_embed.conv.weight_v": "pos_conv_embed.conv.parametrizations.weight.original1",
}
# What a wav2vec 2.0 checkpoint holds beside the encoder: a recognition head, and what only pre-training used.
_UNUSED = ("lm_head.", "quantizer.", "project_hid.", "project_q.", "masked_spec_embed")


class Wav2Vec2Features(nn.Module):
    """transformers' wav2vec 2.0 with all its layers as features."""

    def __init__(self, wav2vec2: nn.Module) -> None:
        super().__init__()
        self.wav2vec2 = wav2vec2
        self.width = (len(self._layers()) + 2) * wav2vec2.config.hidden_size  # type: ignore[union-attr,operator]

    def forward(self, samples: Tensor) -> Tensor:
        """Features ``[n (layers + 2)·d]`` of 16 kHz samples ``[640·n]`` of zero mean and unit variance.

        The last layer comes first, then the transformer's input and every layer, the last one again among them.
        """
        if samples.ndim != 1 or len(samples) % SAMPLES_PER_FRAME or not len(samples):
            raise ValueError(
                f"speech comes in whole frames of {SAMPLES_PER_FRAME} samples, got {tuple(samples.shape)}"
            )
        network: Any = self.wav2vec2
        steps = network.feature_extractor(samples[None]).transpose(1, 2)[:, ::2]
        h = network.feature_projection(steps)[0]
        h = network.encoder.layer_norm(h + network.encoder.pos_conv_embed(h))
        states = [h]
        for layer in self._layers():
            out = layer(h)
            h = out[0] if isinstance(out, tuple) else out
            states.append(h)
        return torch.cat([h, *states], -1)[0]

    def settle(self) -> Wav2Vec2Features:
        """Fold weight normalisation into the weights, once they are loaded."""
        convolution = self.wav2vec2.encoder.pos_conv_embed.conv  # type: ignore[union-attr]
        if parametrize.is_parametrized(convolution):  # type: ignore[arg-type]
            parametrize.remove_parametrizations(convolution, "weight")  # type: ignore[arg-type]
        return self

    def _layers(self) -> list[nn.Module]:
        return list(self.wav2vec2.encoder.layers)  # type: ignore[union-attr,arg-type]


def create_wav2vec2(width: int = 768, layers: int = 12, heads: int = 12, feed_forward: int = 3072) -> nn.Module:
    """transformers' network of ``wav2vec2-base`` with unloaded weights; sizes are those of the transformer."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=feed_forward,
        conv_dim=[512 if width == 768 else width] * 7,
        # Masking is for training only; without it the network has no parameter for it.
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
        layerdrop=0.0,
    )
    network: nn.Module = Wav2Vec2Model(config)
    return network


def wav2vec2_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's part of a wav2vec 2.0 checkpoint under the names of today's transformers, in float32."""
    renamed = {}
    for key, value in tensors.items():
        name = key.removeprefix("wav2vec2.")
        if name.startswith(_UNUSED):
            continue
        for old, new in _WEIGHT_NORM.items():
            name = name.replace(old, new)
        renamed[name] = value.float()
    return renamed
