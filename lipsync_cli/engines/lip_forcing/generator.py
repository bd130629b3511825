"""Lip Forcing (arXiv 2606.11180) as a generator: aligned crops and sound in, crops that speak the sound out.

The model's clock is 25 frames per second and starts with the segment. A chunk of it (9 frames, later 12) is shown
the crops that are on screen at its frames, is denoised in two steps, becomes the past, and is decoded; every crop
of the video then gets the picture nearest to its own time. At 25 frames per second that is one for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import Crop, Float32, GeneratedCrop, ModelSpec
from lipsync_cli.engines import mouth_mask
from lipsync_cli.engines.lip_forcing import parity
from lipsync_cli.engines.lip_forcing.config import KIND, LipForcingConfig
from lipsync_cli.engines.lip_forcing.nn.cache import StreamCache, TextKeysValues
from lipsync_cli.engines.lip_forcing.nn.speech import SpeechEncoder
from lipsync_cli.engines.lip_forcing.nn.transformer import ChunkCondition
from lipsync_cli.engines.lip_forcing.speech_window import Heard, Hearing
from lipsync_cli.engines.model_clock import ON_TIME, crop_at
from lipsync_cli.engines.protocol import CropChunk, WaveSpan
from lipsync_cli.engines.rollout import ChunkFlow, chunk_noise, roll_chunk
from lipsync_cli.engines.sharpening import finished
from lipsync_cli.nn.wan.config import FRAMES_PER_LATENT, LATENT_CHANNELS

GREY = 0.5


class Codec(Protocol):
    """Pictures ``[b t 3 h w]`` in [0, 1] to normalised Wan latents and back, as a stream."""

    def begin(self) -> Any: ...

    def encode(self, frames: Tensor, state: Any) -> Tensor: ...

    def decode(self, latents: Tensor, state: Any) -> Tensor: ...


class Transformer(ChunkFlow[ChunkCondition, StreamCache], Protocol):
    """A ``LipForcingTransformer``, on one device or shared by several."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def set_wide_modulation(self, wide: bool) -> None: ...

    def read_text(self, text: Tensor) -> TextKeysValues: ...

    def open_stream(self, text: TextKeysValues, size: tuple[int, int]) -> StreamCache: ...


@dataclass(frozen=True, slots=True)
class LipForcingNetworks:
    """Everything with weights; ``text`` ``[1 l d]`` is the prompt, read once and for all."""

    transformer: Transformer
    encoder: Codec
    decoder: Codec
    speech: SpeechEncoder
    text: Tensor


@dataclass(slots=True)
class LipForcingState:
    """What a segment carries from chunk to chunk; its size does not depend on the segment's length.

    ``reference`` dtype[1 1 16 h w]: latent of the first crop. ``frames``: frames of the clock made so far.
    ``pictures``: those that may still be wanted, by frame. ``shown``: the last crop and its position.
    """

    start: Fraction
    seed: int
    cache: StreamCache
    encoding: Any
    decoding: Any
    heard: Heard
    reference: Tensor | None = None
    frames: int = 0
    pictures: dict[int, Float32 | Tensor] = field(default_factory=dict)
    shown: tuple[Fraction, Crop] | None = None
    draws: parity.SingleDraw | None = None


class LipForcing:
    """Generator over loaded networks. ``release`` reproduces what the authors' release does differently.

    ``watch`` may be set to be told of stages (speech, encode, transformer, decode) as they run.
    """

    def __init__(
        self, networks: LipForcingNetworks, config: LipForcingConfig, *, name: str = KIND, release: bool = False
    ) -> None:
        self.networks, self.config, self.release = networks, config, release
        networks.transformer.set_wide_modulation(not release)
        self.device, self.dtype = networks.transformer.device, networks.transformer.dtype
        self.watch: Callable[[str], AbstractContextManager[object]] = lambda stage: nullcontext()
        self.leave_drawings = False
        self._hearing = Hearing(networks.speech, config, whole=release)
        size = config.latent_size
        self._kept = torch.from_numpy(mouth_mask.kept_pixels(config.crop_size)).to(self.device)
        self._made = torch.from_numpy(mouth_mask.generated_latents(size)).to(self.device, self.dtype)
        with torch.inference_mode():
            self._text = networks.transformer.read_text(networks.text.to(self.device))
        rate = Fraction(config.rate)
        self._spec = ModelSpec(
            name=name,
            template=config.template,
            crop_size=config.crop_size,
            first_chunk_frames=config.first_chunk_frames,
            chunk_frames=config.chunk_frames,
            reference_frames=0,
            audio_before_s=(config.speech_past + 1) / rate,
            audio_after_s=(config.speech_lookahead + 1) / rate,
            audio="waveform",
            rate=rate,
            whole_audio=release,
            details={
                "steps": len(config.schedule),
                "dtype": str(self.dtype).removeprefix("torch."),
                "threads": torch.get_num_threads(),
                "encoder": config.encoder,
                "decoder": config.decoder,
                "release_numerics": release,
            },
        )

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def flops_per_frame(self) -> float:
        """Operations behind a picture of the steady state, counted."""
        from lipsync_cli.engines.lip_forcing.cost import stage_costs

        return sum(cost.flops for cost in stage_costs(self.config)) / self.config.chunk_frames

    def wait(self) -> None:
        """Return when the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @torch.inference_mode()
    def begin(self, references: Sequence[Crop], start: Fraction, *, seed: int) -> LipForcingState:
        """An empty past; the first crop that comes will be the reference, so none is needed here."""
        size = self.config.latent_size
        cache = self.networks.transformer.open_stream(self._text, (size, size))
        return LipForcingState(
            start, seed, cache, self.networks.encoder.begin(), self.networks.decoder.begin(), Heard.at(start)
        )

    @torch.inference_mode()
    def step(self, state: LipForcingState, chunk: CropChunk) -> list[GeneratedCrop | None]:
        """Speak up to the chunk's last time, then hand out the picture nearest to each crop's own."""
        positions = [(time - state.start) * self.config.rate for time in chunk.times]
        on_screen = [*([state.shown] if state.shown else []), *zip(positions, chunk.crops, strict=True)]
        while state.frames <= ceil(positions[-1] - ON_TIME):
            self._speak(state, on_screen, chunk.wave)
        state.shown = on_screen[-1]
        wanted = [min(floor(position + Fraction(1, 2)), state.frames - 1) for position in positions]
        out = [self._picture(state, index, crop, chunk) for index, crop in zip(wanted, chunk.crops, strict=True)]
        state.pictures = {index: picture for index, picture in state.pictures.items() if index >= wanted[-1]}
        return out

    def _speak(self, state: LipForcingState, on_screen: list[tuple[Fraction, Crop]], wave: WaveSpan) -> None:
        """Make the next chunk of the clock from the crops that are on screen at its frames."""
        first, count = state.frames, self.config.chunk_frames if state.frames else self.config.first_chunk_frames
        crops = [crop_at(on_screen, Fraction(index)) for index in range(first, first + count)]
        with self.watch("encode"):
            visual = self._visual(state, self._pixels(crops))
        with self.watch("speech"):
            features = self._hearing.features(state.heard, wave, first, count).to(self.dtype)
        condition = ChunkCondition(visual, pack_speech(features[None], first=first == 0))
        with self.watch("transformer"):
            noises, schedule = self._noises(state, wave), self.config.schedule
            # The release leaves the first noise at full strength, though it starts from time 0.999.
            x0 = roll_chunk(self.networks.transformer, state.cache, condition, noises, schedule, first_scale=1.0)
        with self.watch("decode"):
            decoded = self.networks.decoder.decode(x0, state.decoding)[0].permute(0, 2, 3, 1).float()
            pictures = finished(decoded) if self.leave_drawings else decoded.cpu().numpy()
        state.pictures |= {first + index: picture for index, picture in enumerate(pictures)}
        state.frames += count

    def _visual(self, state: LipForcingState, pixels: Tensor) -> Tensor:
        """The 49 condition channels ``[1 n 49 h w]`` of frames ``[t 3 s s]``."""
        masked = GREY + (pixels - GREY) * self._kept
        latents = self.networks.encoder.encode(torch.stack([pixels, masked]), state.encoding).to(self.dtype)
        source, hidden = latents[:1], latents[1:]
        if state.reference is None:
            state.reference = source[:, :1].clone()
        made = self._made.expand(1, source.shape[1], 1, -1, -1)
        return torch.cat([state.reference.expand_as(source), made, hidden, source], 2)

    def _noises(self, state: LipForcingState, wave: WaveSpan) -> list[Tensor]:
        chunk, size, steps = self.config.chunk, self.config.latent_size, len(self.config.schedule)
        first = state.cache.frames
        if not self.release:
            drawn = chunk_noise(state.seed, first, chunk, (LATENT_CHANNELS, size, size), steps)
            return [noise.to(self.device, self.dtype) for noise in drawn]
        if state.draws is None:
            latents = parity.latent_frames(len(wave.samples), self.config)
            state.draws = parity.SingleDraw(latents, size, self.device, self.dtype)
        return state.draws.noises(first, chunk, steps)

    def _picture(self, state: LipForcingState, index: int, crop: Crop, chunk: CropChunk) -> GeneratedCrop | None:
        drawing = GeneratedCrop(state.pictures[index])
        if not self.release:
            return drawing
        latents = parity.latent_frames(len(chunk.wave.samples), self.config)
        if index >= parity.video_frames(latents):
            return None
        return GeneratedCrop(mouth_mask.mouth_only(drawing.on_host(), crop.rgb))

    def _pixels(self, crops: Sequence[Crop]) -> Tensor:
        """RGB ``[t 3 s s]`` in [0, 1] on the device."""
        stacked = torch.from_numpy(np.stack([crop.rgb for crop in crops])).to(self.device)
        return stacked.permute(0, 3, 1, 2).float() / 255


def pack_speech(features: Tensor, *, first: bool) -> Tensor:
    """Features of video frames ``[b t d]`` by latent frame ``[b n 4·d]``; a stream's first counts four times."""
    if first:
        features = torch.cat([features[:, :1].expand(-1, FRAMES_PER_LATENT - 1, -1), features], 1)
    b, t, d = features.shape
    return features.reshape(b, t // FRAMES_PER_LATENT, FRAMES_PER_LATENT * d)
