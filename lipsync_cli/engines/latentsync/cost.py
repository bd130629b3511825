"""What LatentSync costs: operations and bytes of each stage, counted on shapes alone."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lipsync_cli.engines.latentsync.config import COMPRESSION, POSITIONS_PER_FRAME, LatentSyncConfig
from lipsync_cli.engines.latentsync.load import roles
from lipsync_cli.engines.latentsync.nn.frame_vae import FrameVae
from lipsync_cli.engines.latentsync.nn.speech import N_MELS, SpeechEncoder
from lipsync_cli.engines.latentsync.nn.unet import INPUT_CHANNELS, LATENT_CHANNELS, LatentSyncUNet
from lipsync_cli.engines.latentsync.sampling import Sampler
from lipsync_cli.engines.lip_forcing.cost import Forecast, StageCost
from lipsync_cli.nn.whisper import COLUMNS_PER_POSITION


@lru_cache(maxsize=8)
def stage_costs(config: LatentSyncConfig, *, bytes_per_weight: float = 2.0) -> tuple[StageCost, ...]:
    """Costs of a window of ``config.chunk`` frames."""
    sizes = memory_bytes(config, bytes_per_weight=bytes_per_weight)
    encode, decode = _codec_flops(config)
    return (
        StageCost("encode", encode, sizes["encode weights"], sizes["encode weights"]),
        StageCost("speech", _speech_flops(config), sizes["speech weights"], sizes["speech weights"]),
        _unet_cost(config, sizes["unet weights"]),
        StageCost("decode", decode, sizes["decode weights"], sizes["decode weights"]),
    )


def forecast(config: LatentSyncConfig, flops_per_s: float, bytes_per_s: float) -> Forecast:
    """What a device with such a peak could do at best, stages one after another."""
    seconds = {cost.stage: cost.seconds(flops_per_s, bytes_per_s) for cost in stage_costs(config)}
    window = sum(seconds.values())
    return Forecast(seconds, config.chunk / window, window)


def memory_bytes(config: LatentSyncConfig, *, bytes_per_weight: float = 2.0) -> dict[str, float]:
    """What must be held while running: the weights. Speech is float32 always."""
    unet, vae, speech = _networks(config)
    return {
        "speech weights": _size(speech, 4),
        "unet weights": _size(unet, bytes_per_weight),
        "encode weights": _size(vae.vae.encoder, bytes_per_weight),
        "decode weights": _size(vae.vae.decoder, bytes_per_weight),
    }


@lru_cache(maxsize=2)
def _networks(config: LatentSyncConfig) -> tuple[LatentSyncUNet, FrameVae, SpeechEncoder]:
    with torch.device("meta"):
        made = {name: role.create().eval() for name, role in roles(config).items()}
    return LatentSyncUNet(made["unet"]), FrameVae(made["vae"]), SpeechEncoder(made["whisper"])


def _unet_cost(config: LatentSyncConfig, size: float) -> StageCost:
    unet, sampler = _networks(config)[0], Sampler.of(config)
    batch, frames, side = sampler.batch, config.chunk, config.latent_size
    with torch.device("meta"), torch.no_grad():
        x = torch.zeros(batch, frames, INPUT_CHANNELS, side, side)
        audio = torch.zeros(batch, frames, config.tokens, config.speech_width)
        with FlopCounterMode(display=False) as full:
            _, deep = unet.predict(x, 1, audio)
        with FlopCounterMode(display=False) as short:
            unet.predict_again(x, 1, audio, deep)
    runs, again = sampler.full_passes, sampler.steps - sampler.full_passes
    flops = runs * full.get_total_flops() + again * short.get_total_flops()
    # Of a short pass the weights are few.
    return StageCost("unet", float(flops), runs * size, size)


def _codec_flops(config: LatentSyncConfig) -> tuple[float, float]:
    """Operations of encoding both pictures of every frame, and of decoding every frame."""
    vae, size = _networks(config)[1], config.crop_size
    with torch.device("meta"), torch.no_grad():
        with FlopCounterMode(display=False) as encode:
            vae.encode(torch.zeros(1, 3, size, size))
        with FlopCounterMode(display=False) as decode:
            vae.decode(torch.zeros(1, LATENT_CHANNELS, size // COMPRESSION, size // COMPRESSION))
    return 2.0 * config.chunk * encode.get_total_flops(), float(config.chunk * decode.get_total_flops())


def _speech_flops(config: LatentSyncConfig) -> float:
    speech = _networks(config)[2]
    frames = config.speech_past + config.chunk + config.speech_lookahead
    columns = COLUMNS_PER_POSITION * POSITIONS_PER_FRAME * frames
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        speech(torch.zeros(N_MELS, columns))
    return float(counter.get_total_flops())


def _size(network: nn.Module, bytes_per_weight: float) -> float:
    return bytes_per_weight * sum(parameter.numel() for parameter in network.parameters())
