"""LatentSync (arXiv 2412.09262) as a generator: aligned crops and sound in, crops that speak the sound out.

The model's clock is 25 frames per second and starts with the segment. A window of it (16 frames) is shown the crops
that are on screen at its frames, whole and with the lower face hidden, and is sampled from noise that all windows of
a segment share; every crop of the video then gets the picture nearest to its own time. A window always has all its
frames, as in training: after the segment's last crop, that one stays on screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import Crop, Float32, GeneratedCrop, ModelSpec
from lipsync_cli.engines import mouth_mask
from lipsync_cli.engines.latentsync import parity
from lipsync_cli.engines.latentsync.config import COMPRESSION, KIND, LatentSyncConfig
from lipsync_cli.engines.latentsync.nn.frame_vae import FrameVae
from lipsync_cli.engines.latentsync.nn.speech import SpeechEncoder
from lipsync_cli.engines.latentsync.nn.unet import LATENT_CHANNELS, LatentSyncUNet
from lipsync_cli.engines.latentsync.sampling import Sampler
from lipsync_cli.engines.latentsync.speech_window import Heard, Hearing
from lipsync_cli.engines.model_clock import ON_TIME, crop_at
from lipsync_cli.engines.protocol import CropChunk, WaveSpan
from lipsync_cli.engines.sharpening import finished

GREY = 0.5


@dataclass(frozen=True, slots=True)
class LatentSyncNetworks:
    """Everything with weights, on one device."""

    unet: LatentSyncUNet
    vae: FrameVae
    speech: SpeechEncoder


@dataclass(slots=True)
class LatentSyncState:
    """What a segment carries from window to window; its size does not depend on the segment's length.

    ``noise`` float32[4 h w]: what every frame starts from. ``frames``: frames of the clock made so far. ``pictures``:
    those that may still be wanted, by frame. ``shown``: the last crop and its position.
    """

    start: Fraction
    noise: Tensor
    heard: Heard
    draws: parity.Draws | None = None
    frames: int = 0
    pictures: dict[int, Float32 | Tensor] = field(default_factory=dict)
    shown: tuple[Fraction, Crop] | None = None


class LatentSync:
    """Generator over loaded networks. ``release`` reproduces what the authors' release does differently.

    ``watch`` may be set to be told of stages (encode, speech, unet, decode) as they run.
    """

    def __init__(
        self, networks: LatentSyncNetworks, config: LatentSyncConfig, *, name: str = KIND, release: bool = False
    ) -> None:
        self.networks, self.config, self.release = networks, config, release
        self.device, self.dtype = networks.unet.device, networks.unet.dtype
        self.watch: Callable[[str], AbstractContextManager[object]] = lambda stage: nullcontext()
        self.leave_drawings = False
        self._sampler = Sampler.of(config)
        self._hearing = Hearing(networks.speech, config, whole=release)
        # Enlarged, the release's mask has a soft edge, and so has the channel that tells the network of it.
        kept = (mouth_mask.release_blend if release else mouth_mask.kept_pixels)(config.crop_size)
        self._kept = torch.from_numpy(kept).to(self.device)
        self._spec = _spec(config, name, self.dtype, release=release)

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def flops_per_frame(self) -> float:
        """Operations behind a picture, counted."""
        from lipsync_cli.engines.latentsync.cost import stage_costs

        return sum(cost.flops for cost in stage_costs(self.config)) / self.config.chunk

    def wait(self) -> None:
        """Return when the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def begin(self, references: Sequence[Crop], start: Fraction, *, seed: int) -> LatentSyncState:
        """Noise for all of the segment; its crops are their own references, so none are needed here."""
        shape = (LATENT_CHANNELS, self.config.latent_size, self.config.latent_size)
        if self.release:
            draws = parity.Draws(self.device, self.dtype)
            return LatentSyncState(start, draws.normal(*shape), Heard.at(start), draws)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        return LatentSyncState(start, noise, Heard.at(start))

    @torch.inference_mode()
    def step(self, state: LatentSyncState, chunk: CropChunk) -> list[GeneratedCrop | None]:
        """Speak up to the chunk's last time, then hand out the picture nearest to each crop's own."""
        positions = [(time - state.start) * self.config.rate for time in chunk.times]
        on_screen = [*([state.shown] if state.shown else []), *zip(positions, chunk.crops, strict=True)]
        last = ceil(positions[-1] - ON_TIME)
        while state.frames <= last:
            left = last + 1 - state.frames if self.release else self.config.chunk
            self._speak(state, on_screen, chunk.wave, min(left, self.config.chunk))
        state.shown = on_screen[-1]
        wanted = [min(floor(position + Fraction(1, 2)), state.frames - 1) for position in positions]
        out = [self._picture(state, index, crop, chunk.wave) for index, crop in zip(wanted, chunk.crops, strict=True)]
        state.pictures = {index: picture for index, picture in state.pictures.items() if index >= wanted[-1]}
        return out

    def _speak(
        self, state: LatentSyncState, on_screen: list[tuple[Fraction, Crop]], wave: WaveSpan, count: int
    ) -> None:
        """Make the next window of the clock from the crops that are on screen at its frames."""
        first = state.frames
        crops = [crop_at(on_screen, Fraction(index)) for index in range(first, first + count)]
        with self.watch("encode"):
            condition = self._condition(state, self._pixels(crops))
        with self.watch("speech"):
            audio = self._hearing.tokens(state.heard, wave, first, count)
        with self.watch("unet"):
            noise = state.noise.expand(1, count, -1, -1, -1)
            latents = self._sampler.sample(self.networks.unet, noise, condition, audio)
        with self.watch("decode"):
            decoded = self.networks.vae.decode(latents[0]).permute(0, 2, 3, 1)
            pictures = finished(decoded) if self.leave_drawings else decoded.cpu().numpy()
        state.pictures |= {first + index: picture for index, picture in enumerate(pictures)}
        state.frames += count

    def _condition(self, state: LatentSyncState, pixels: Tensor) -> Tensor:
        """Mask, masked and whole crop ``[1 f 9 h w]`` of frames ``[f 3 s s]``."""
        hidden = GREY + (pixels - GREY) * self._kept
        latents = [self._latents(state, pictures) for pictures in (hidden, pixels)]
        mask = self._kept[::COMPRESSION, ::COMPRESSION].expand(len(pixels), 1, -1, -1)
        return torch.cat([mask, *latents], 1)[None]

    def _latents(self, state: LatentSyncState, pictures: Tensor) -> Tensor:
        """Means, so that the same crop always gives the same latents; the release samples."""
        mean, deviation = self.networks.vae.encode(pictures)
        return mean if state.draws is None else mean + deviation * state.draws.normal(*mean.shape)

    def _picture(self, state: LatentSyncState, index: int, crop: Crop, wave: WaveSpan) -> GeneratedCrop | None:
        drawing = GeneratedCrop(state.pictures[index])
        if not self.release:
            return drawing
        spoken = parity.video_frames(len(self._hearing.whole_track(state.heard, wave)))
        if index + state.heard.first_frame >= spoken:
            return None
        return GeneratedCrop(mouth_mask.mouth_only(drawing.on_host(), crop.rgb))

    def _pixels(self, crops: Sequence[Crop]) -> Tensor:
        """RGB ``[f 3 s s]`` in [0, 1] on the device."""
        stacked = torch.from_numpy(np.stack([crop.rgb for crop in crops])).to(self.device)
        return stacked.permute(0, 3, 1, 2).float() / 255


def _spec(config: LatentSyncConfig, name: str, dtype: torch.dtype, *, release: bool) -> ModelSpec:
    rate = Fraction(config.rate)
    return ModelSpec(
        name=name,
        template=config.template,
        crop_size=config.crop_size,
        first_chunk_frames=config.chunk,
        chunk_frames=config.chunk,
        reference_frames=0,
        audio_before_s=(config.speech_past + 1) / rate,
        audio_after_s=(config.speech_lookahead + 1) / rate,
        audio="waveform",
        rate=rate,
        whole_audio=release,
        details={
            "solver": config.solver,
            "steps": config.steps,
            "guidance": config.guidance,
            "reuse": config.reuse,
            "dtype": str(dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "release_numerics": release,
        },
    )
