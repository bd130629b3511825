"""What Lip Forcing costs: operations and bytes of each stage, counted on shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import nn

from lipsync_cli.engines.cost import ModelCost, StageCost, count_flops, weight_bytes
from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
from lipsync_cli.engines.lip_forcing.nn.speech import SAMPLES_PER_FRAME, Wav2Vec2Features
from lipsync_cli.engines.lip_forcing.nn.transformer import ChunkCondition, LipForcingTransformer
from lipsync_cli.engines.lip_forcing.weight_roles import roles
from lipsync_cli.nn.wan.config import CONDITION_CHANNELS, LATENT_CHANNELS
from lipsync_cli.nn.wan.wan_vae import StreamingWanVae


def model_cost(config: LipForcingConfig, *, bytes_per_weight: float = 2.0) -> ModelCost:
    """Costs of a chunk of ``config.chunk_frames`` frames once the window is full, and of the first, shorter one."""
    return ModelCost(
        config.chunk_frames,
        _costs(config, bytes_per_weight, first=False),
        memory_bytes(config, bytes_per_weight=bytes_per_weight),
        first=_costs(config, bytes_per_weight, first=True),
    )


def memory_bytes(config: LipForcingConfig, *, bytes_per_weight: float = 2.0) -> dict[str, float]:
    """What must be held while running: weights, the ring of keys and values. Speech is float32 always."""
    networks = _shapes(config)
    codecs = {"encode": networks.encoder, "decode": networks.decoder}
    return {
        "speech weights": weight_bytes(networks.speech, 4),
        "transformer weights": bytes_per_weight * transformer_parameters(config),
        **{
            f"{stage} weights": weight_bytes(_half(stage, codec), bytes_per_weight) for stage, codec in codecs.items()
        },
        "keys and values": _ring_bytes(config, bytes_per_weight),
    }


def needed_bytes(config: LipForcingConfig, dtype: torch.dtype, *, devices: int = 1) -> float:
    """Bytes of weights, keys and values on each of ``devices``, in arithmetic of ``dtype``."""
    held = memory_bytes(config, bytes_per_weight=dtype.itemsize)
    return sum(held.values()) - held["keys and values"] * (1 - 1 / devices)


def transformer_flops(config: LipForcingConfig, *, first: bool = False) -> float:
    """Operations of one pass over a chunk, the first or a later one.

    All layers cost the same, so two shallow networks of the true width tell what any depth costs.
    """
    low, high = (_pass_flops(config, depth, first=first) for depth in _DEPTHS)
    return _at_depth(config, low, high)


def transformer_parameters(config: LipForcingConfig) -> int:
    """Weights of the transformer, worked out in the same way."""
    low, high = (sum(p.numel() for p in _transformer(config, depth).parameters()) for depth in _DEPTHS)
    return round(_at_depth(config, low, high))


_DEPTHS = (4, 6)


def _at_depth(config: LipForcingConfig, low: float, high: float) -> float:
    return low + (high - low) / (_DEPTHS[1] - _DEPTHS[0]) * (config.layers - _DEPTHS[0])


@lru_cache(maxsize=4)
def _transformer(config: LipForcingConfig, layers: int) -> LipForcingTransformer:
    with torch.device("meta"):
        return LipForcingTransformer(replace(config.transformer(), layers=layers)).eval()


def _pass_flops(config: LipForcingConfig, layers: int, *, first: bool) -> float:
    size, chunk, network = config.latent_size, config.chunk, _transformer(config, layers)
    with torch.device("meta"), torch.no_grad():
        cache = network.begin(torch.zeros(1, config.text_tokens, config.text_width), (size, size))
        # Positions do not matter to the count, only how many frames are seen.
        cache.frames = 0 if first else chunk * -(-config.window // chunk)
        x = torch.zeros(1, chunk, LATENT_CHANNELS, size, size)
        visual = torch.zeros(1, chunk, CONDITION_CHANNELS, size, size)
        speech = torch.zeros(1, chunk, 4 * config.transformer().audio_features)
        return count_flops(lambda: network.predict(x, torch.zeros(1, chunk), ChunkCondition(visual, speech), cache))


@dataclass(frozen=True, slots=True)
class _Shapes:
    """The other networks without values."""

    speech: Wav2Vec2Features
    encoder: nn.Module
    decoder: nn.Module


@lru_cache(maxsize=2)
def _shapes(config: LipForcingConfig) -> _Shapes:
    with torch.device("meta"):
        made = roles(config)
        codecs = {"wan": StreamingWanVae(made["wan-vae"].create()), "taew": made["taew"].create()}
        return _Shapes(
            Wav2Vec2Features(made["speech"].create()).settle().eval(),
            codecs[config.encoder].eval(),
            codecs[config.decoder].eval(),
        )


@lru_cache(maxsize=8)
def _costs(config: LipForcingConfig, bytes_per_weight: float, *, first: bool) -> tuple[StageCost, ...]:
    frames = config.first_chunk_frames if first else config.chunk_frames
    networks = _shapes(config)
    with torch.device("meta"), torch.no_grad():
        speech = networks.speech
        heard = SAMPLES_PER_FRAME * ((0 if first else config.speech_past) + frames + config.speech_lookahead)
        passes = len(config.schedule) + 1
        once = transformer_flops(config, first=first)
        seen = config.chunk if first else config.window
        size = bytes_per_weight * transformer_parameters(config)
        ring = _ring_bytes(config, bytes_per_weight) * seen / config.window
        encode = _encoding(networks.encoder, config, frames, first=first)
        decode = _decoding(networks.decoder, config, first=first)
        return (
            StageCost(
                "speech",
                count_flops(lambda: speech(torch.zeros(heard))),
                weight_bytes(speech, 4),
                weight_bytes(speech, 4),
            ),
            _codec_cost("encode", networks.encoder, encode, bytes_per_weight),
            StageCost("transformer", passes * once, passes * (size + ring), size),
            _codec_cost("decode", networks.decoder, decode, bytes_per_weight),
        )


def _codec_cost(stage: str, codec: nn.Module, run: Callable[[], object], bytes_per_weight: float) -> StageCost:
    size = weight_bytes(_half(stage, codec), bytes_per_weight)
    return StageCost(stage, count_flops(run), size, size)


def _half(stage: str, codec: nn.Module) -> nn.Module:
    """The part of a codec that a stage runs."""
    inner: nn.Module = codec.vae if isinstance(codec, StreamingWanVae) else codec
    return inner.get_submodule({"encode": "encoder", "decode": "decoder"}[stage])


def _encoding(codec: nn.Module, config: LipForcingConfig, frames: int, *, first: bool) -> Callable[[], object]:
    """Both streams, masked and unmasked; a stream under way has its caches filled."""
    state = codec.begin()  # type: ignore[operator]
    if not first:
        codec.encode(torch.zeros(2, config.first_chunk_frames, 3, config.crop_size, config.crop_size), state)  # type: ignore[operator]
    pictures = torch.zeros(2, frames, 3, config.crop_size, config.crop_size)
    return lambda: codec.encode(pictures, state)  # type: ignore[operator]


def _decoding(codec: nn.Module, config: LipForcingConfig, *, first: bool) -> Callable[[], object]:
    state = codec.begin()  # type: ignore[operator]
    latents = torch.zeros(1, config.chunk, LATENT_CHANNELS, config.latent_size, config.latent_size)
    if not first:
        codec.decode(latents, state)  # type: ignore[operator]
    return lambda: codec.decode(latents, state)  # type: ignore[operator]


def _ring_bytes(config: LipForcingConfig, bytes_per_value: float) -> float:
    """Keys and values of all layers over a full window."""
    return bytes_per_value * 2 * config.layers * config.window * config.tokens * config.width
