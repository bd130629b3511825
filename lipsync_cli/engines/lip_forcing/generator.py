"""Lip Forcing (arXiv 2606.11180): aligned crops and sound in, crops that speak the sound out.

The model's clock is 25 frames per second. A chunk of it (9 frames, later 12) is denoised in two steps, becomes the
past, and is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import torch
from torch import Tensor

from lipsync_cli.core.types import Crop, GeneratedCrop, ModelSpec
from lipsync_cli.engines import mouth_mask
from lipsync_cli.engines.lip_forcing import parity
from lipsync_cli.engines.lip_forcing.config import KIND, LipForcingConfig
from lipsync_cli.engines.lip_forcing.nn.cache import StreamCache, TextKeysValues
from lipsync_cli.engines.lip_forcing.nn.speech import Wav2Vec2Features
from lipsync_cli.engines.lip_forcing.nn.transformer import ChunkCondition
from lipsync_cli.engines.lip_forcing.speech_features import SpeechFeatures, SpeechMoments
from lipsync_cli.engines.model_clock import ClockedModel, ClockState, pixels_of
from lipsync_cli.engines.protocol import CropChunk, WaveSpan
from lipsync_cli.engines.rollout import ChunkFlow, chunk_noise, roll_chunk
from lipsync_cli.nn.wan.codec import Codec
from lipsync_cli.nn.wan.config import FRAMES_PER_LATENT, LATENT_CHANNELS

GREY = 0.5


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
    speech: Wav2Vec2Features
    text: Tensor


@dataclass(slots=True, kw_only=True)
class LipForcingState(ClockState):
    """What a segment carries beside its clock. ``reference`` dtype[1 1 16 h w]: latent of the first crop."""

    seed: int
    cache: StreamCache
    encoding: Any
    decoding: Any
    speech: SpeechMoments
    reference: Tensor | None = None
    draws: parity.SingleDraw | None = None


class LipForcing(ClockedModel[LipForcingState]):
    """Loaded networks as a model; stages: encode, speech, transformer, decode.

    ``release`` reproduces what the authors' release does differently.
    """

    def __init__(
        self, networks: LipForcingNetworks, config: LipForcingConfig, *, name: str = KIND, release: bool = False
    ) -> None:
        self.dtype = networks.transformer.dtype
        super().__init__(_spec(config, name, self.dtype, release=release), networks.transformer.device)
        self.networks, self.config, self.release = networks, config, release
        networks.transformer.set_wide_modulation(not release)
        self._speech = SpeechFeatures(networks.speech, config, whole=release)
        size = config.latent_size
        self._kept = torch.from_numpy(mouth_mask.kept_pixels(config.crop_size)).to(self.device)
        self._made = torch.from_numpy(mouth_mask.generated_latents(size)).to(self.device, self.dtype)
        with torch.inference_mode():
            self._text = networks.transformer.read_text(networks.text.to(self.device))

    def flops_per_frame(self) -> float:
        from lipsync_cli.engines.lip_forcing.cost import model_cost

        return model_cost(self.config).flops_per_frame

    @torch.inference_mode()
    def begin(self, references: Sequence[Crop], start: Fraction, *, seed: int) -> LipForcingState:
        """An empty past; the first crop that comes will be the reference, so none is needed here."""
        size = self.config.latent_size
        return LipForcingState(
            start=start,
            seed=seed,
            cache=self.networks.transformer.open_stream(self._text, (size, size)),
            encoding=self.networks.encoder.begin(),
            decoding=self.networks.decoder.begin(),
            speech=SpeechMoments.at(start),
        )

    def next_count(self, state: LipForcingState, last: int) -> int:
        return self.config.chunk_frames if state.taken else self.config.first_chunk_frames

    def make(self, state: LipForcingState, crops: Sequence[Crop], chunk: CropChunk) -> Tensor:
        """The next chunk of the clock."""
        first, count = state.taken, len(crops)
        with self.watch("encode"):
            visual = self._visual(state, pixels_of(crops, self.device))
        with self.watch("speech"):
            features = self._speech.features(state.speech, chunk.wave, first, count).to(self.dtype)
        condition = ChunkCondition(visual, pack_speech(features[None], first=first == 0))
        with self.watch("transformer"):
            noises, schedule = self._noises(state, chunk.wave), self.config.schedule
            # The release leaves the first noise at full strength, though it starts from time 0.999.
            x0 = roll_chunk(self.networks.transformer, state.cache, condition, noises, schedule, first_scale=1.0)
        with self.watch("decode"):
            return self.networks.decoder.decode(x0, state.decoding)[0].permute(0, 2, 3, 1).float()

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

    def hand_out(
        self, state: LipForcingState, frame: int, crop: Crop, chunk: CropChunk | None
    ) -> GeneratedCrop | None:
        generated = GeneratedCrop(state.pictures[frame])
        if not self.release or chunk is None:
            return generated
        latents = parity.latent_frames(len(chunk.wave.samples), self.config)
        if frame >= parity.video_frames(latents):
            return None
        return GeneratedCrop(mouth_mask.mouth_only(generated.on_host(), crop.rgb))


def _spec(config: LipForcingConfig, name: str, dtype: torch.dtype, *, release: bool) -> ModelSpec:
    rate = Fraction(config.rate)
    return ModelSpec(
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
            "dtype": str(dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "encoder": config.encoder,
            "decoder": config.decoder,
            "release_numerics": release,
        },
    )


def pack_speech(features: Tensor, *, first: bool) -> Tensor:
    """Features of video frames ``[b t d]`` by latent frame ``[b n 4·d]``; a stream's first counts four times."""
    if first:
        features = torch.cat([features[:, :1].expand(-1, FRAMES_PER_LATENT - 1, -1), features], 1)
    b, t, d = features.shape
    return features.reshape(b, t // FRAMES_PER_LATENT, FRAMES_PER_LATENT * d)
