"""What LatentSync costs: operations and bytes of each stage, counted on shapes alone."""

from __future__ import annotations

from functools import lru_cache

import torch

from lipsync_cli.engines.cost import ModelCost, StageCost, count_flops, weight_bytes
from lipsync_cli.engines.latentsync.config import COMPRESSION, POSITIONS_PER_FRAME, LatentSyncConfig
from lipsync_cli.engines.latentsync.load import roles
from lipsync_cli.engines.latentsync.nn.frame_vae import FrameVae
from lipsync_cli.engines.latentsync.nn.speech import N_MELS, WhisperActivations
from lipsync_cli.engines.latentsync.nn.unet import INPUT_CHANNELS, LATENT_CHANNELS, LatentSyncUNet
from lipsync_cli.engines.latentsync.sampling import WindowSampler
from lipsync_cli.nn.whisper import COLUMNS_PER_POSITION


@lru_cache(maxsize=8)
def model_cost(config: LatentSyncConfig, *, bytes_per_weight: float = 2.0) -> ModelCost:
    """Costs of a window of ``config.chunk`` frames."""
    sizes = memory_bytes(config, bytes_per_weight=bytes_per_weight)
    encode, decode = _codec_flops(config)
    stages = (
        StageCost("encode", encode, sizes["encode weights"], sizes["encode weights"]),
        StageCost("speech", _speech_flops(config), sizes["speech weights"], sizes["speech weights"]),
        _unet_cost(config, sizes["unet weights"]),
        StageCost("decode", decode, sizes["decode weights"], sizes["decode weights"]),
    )
    return ModelCost(config.chunk, stages, sizes)


def memory_bytes(config: LatentSyncConfig, *, bytes_per_weight: float = 2.0) -> dict[str, float]:
    """What must be held while running: the weights. Speech is float32 always."""
    unet, vae, speech = _networks(config)
    return {
        "speech weights": weight_bytes(speech, 4),
        "unet weights": weight_bytes(unet, bytes_per_weight),
        "encode weights": weight_bytes(vae.vae.encoder, bytes_per_weight),
        "decode weights": weight_bytes(vae.vae.decoder, bytes_per_weight),
    }


@lru_cache(maxsize=2)
def _networks(config: LatentSyncConfig) -> tuple[LatentSyncUNet, FrameVae, WhisperActivations]:
    with torch.device("meta"):
        made = {name: role.create().eval() for name, role in roles(config).items()}
    return LatentSyncUNet(made["unet"]), FrameVae(made["vae"]), WhisperActivations(made["whisper"])


def _unet_cost(config: LatentSyncConfig, size: float) -> StageCost:
    unet, sampler = _networks(config)[0], WindowSampler.of(config)
    batch, frames, side = sampler.batch, config.chunk, config.latent_size
    with torch.device("meta"), torch.no_grad():
        x = torch.zeros(batch, frames, INPUT_CHANNELS, side, side)
        audio = torch.zeros(batch, frames, config.tokens, config.speech_width)
        full = count_flops(lambda: unet.predict(x, 1, audio))
        _, deep = unet.predict(x, 1, audio)
        short = count_flops(lambda: unet.predict_again(x, 1, audio, deep))
    runs, again = sampler.full_passes, sampler.steps - sampler.full_passes
    flops = runs * full + again * short
    # Of a short pass the weights are few.
    return StageCost("unet", flops, runs * size, size)


def _codec_flops(config: LatentSyncConfig) -> tuple[float, float]:
    """Operations of encoding both pictures of every frame, and of decoding every frame."""
    vae, size = _networks(config)[1], config.crop_size
    with torch.device("meta"), torch.no_grad():
        encode = count_flops(lambda: vae.encode(torch.zeros(1, 3, size, size)))
        latents = torch.zeros(1, LATENT_CHANNELS, size // COMPRESSION, size // COMPRESSION)
        decode = count_flops(lambda: vae.decode(latents))
    return 2.0 * config.chunk * encode, config.chunk * decode


def _speech_flops(config: LatentSyncConfig) -> float:
    speech = _networks(config)[2]
    frames = config.speech_past + config.chunk + config.speech_lookahead
    columns = COLUMNS_PER_POSITION * POSITIONS_PER_FRAME * frames
    with torch.device("meta"), torch.no_grad():
        return count_flops(lambda: speech(torch.zeros(N_MELS, columns)))
