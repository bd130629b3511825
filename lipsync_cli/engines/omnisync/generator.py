"""OmniSync (arXiv 2505.21448): whole aligned crops in, without a mask, and whole crops out.

The model is bidirectional, so it works in windows of latent frames, each of which overlaps the one before. Source
latents and decoded pictures are streams; where two windows overlap their results are faded into each other before
anything is decoded, so a picture comes up to an overlap later than its crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.crop_templates import crop_template
from lipsync_cli.core.mouth_region import generation_region
from lipsync_cli.core.types import MEL_RATE, Crop, ModelSpec
from lipsync_cli.engines.model_clock import ClockedModel, ClockState, pixels_of
from lipsync_cli.engines.omnisync.config import KIND, OmniSyncConfig
from lipsync_cli.engines.omnisync.mouth_map import MouthTrack
from lipsync_cli.engines.omnisync.nn.transformer import OmniCondition, OmniSyncTransformer
from lipsync_cli.engines.omnisync.nn.whisper import WhisperFeatures
from lipsync_cli.engines.omnisync.noise_start import latent_noise
from lipsync_cli.engines.omnisync.region_lock import grown
from lipsync_cli.engines.omnisync.speech_features import ROWS_BEFORE, by_latent_frame, frame_features
from lipsync_cli.engines.protocol import CropChunk
from lipsync_cli.nn.wan.codec import Codec

SLACK_FRAMES = 2
"""Video frames of sound asked for beyond what is heard: times of frames are rounded."""


@dataclass(frozen=True, slots=True)
class OmniSyncNetworks:
    """Everything with weights. ``speech`` is None for log-mel rows, ``text`` ``[1 l d]`` is None for no prompt."""

    transformer: OmniSyncTransformer
    codec: Codec
    speech: WhisperFeatures | None = None
    text: Tensor | None = None


@dataclass(slots=True, kw_only=True)
class OmniSyncState(ClockState):
    """What a segment carries beside its clock.

    ``sources`` and ``tail`` dtype[1 overlap c h w]: latents of the source and of the result where the next window
    overlaps. ``latents``: latent frames before that.
    """

    seed: int
    encoding: Any
    decoding: Any
    mouth: MouthTrack
    latents: int = 0
    sources: Tensor | None = None
    tail: Tensor | None = None


class OmniSync(ClockedModel[OmniSyncState]):
    """Loaded networks as a model; stages: encode, speech, transformer, decode."""

    def __init__(self, networks: OmniSyncNetworks, config: OmniSyncConfig, *, name: str = KIND) -> None:
        self.dtype = networks.transformer.dtype
        super().__init__(_spec(config, name, self.dtype), networks.transformer.device)
        self.networks, self.config = networks, config
        self._sampler = config.sampler()
        free = torch.from_numpy(
            np.array(generation_region(config.latent_size, crop_template(config.template).region))
        )
        self._region = grown(free.float(), 1).to(self.device)
        self._text = None if networks.text is None else networks.text.to(self.device, self.dtype)

    def flops_per_frame(self) -> float:
        from lipsync_cli.engines.omnisync.cost import model_cost

        return model_cost(self.config).flops_per_frame

    @torch.inference_mode()
    def begin(self, references: Sequence[Crop], start: Fraction, *, seed: int) -> OmniSyncState:
        """No window yet; its own crops are all the reference there is."""
        codec = self.networks.codec
        return OmniSyncState(
            start=start, seed=seed, encoding=codec.begin(), decoding=codec.begin(), mouth=MouthTrack.begin()
        )

    def next_count(self, state: OmniSyncState, last: int) -> int:
        return self.config.chunk_frames if state.taken else self.config.first_chunk_frames

    def make(self, state: OmniSyncState, crops: Sequence[Crop], chunk: CropChunk) -> Tensor:
        """Edit the next window and decode what no later one will touch."""
        config, overlap = self.config, self.config.overlap
        begins = state.sources is None
        with self.watch("encode"):
            pixels = pixels_of(crops, self.device, self.dtype)
            new = self.networks.codec.encode(pixels[None], state.encoding).float()
            source = new if state.sources is None else torch.cat([state.sources, new], 1)
            state.mouth.follow(crops, config, first=begins, keep=0 if begins else overlap)
        with self.watch("speech"):
            audio = self._features(state, chunk)
        with self.watch("transformer"):
            edited = self._edit(state, source, audio)
        if state.tail is not None:
            edited = torch.cat([faded(state.tail, edited[:, :overlap]), edited[:, overlap:]], 1)
        with self.watch("decode"):
            pictures = self._decode(state, edited[:, :-overlap])
        state.tail, state.sources = edited[:, -overlap:], source[:, -overlap:]
        state.latents += config.window - overlap
        return pictures

    def flush(self, state: OmniSyncState) -> Tensor | None:
        """The frames that waited for another window."""
        tail, state.tail = state.tail, None
        return None if tail is None else self._decode(state, tail)

    def _edit(self, state: OmniSyncState, source: Tensor, audio: Tensor) -> Tensor:
        """Clean latents of a window ``[1 n c h w]`` that speak ``audio`` ``[n m a]``."""
        config, network = self.config, self.networks.transformer
        with_sound = OmniCondition(source, audio[None].to(self.device), self._text)
        silent = with_sound.without_sound()

        def predict(x: Tensor, sigma: float, sound: bool) -> Tensor:
            time = torch.full((1,), sigma, device=self.device)
            velocity: Tensor = network(x, time, with_sound if sound else silent)
            return velocity.float()

        noise = latent_noise(state.seed, state.latents, source.shape[1], source.shape[2:]).to(self.device)
        mouth = state.mouth.map(config).to(self.device) if config.cfg_map == "mouth" else 1.0
        return self._sampler(predict, source, noise, mouth=mouth, region=self._region)

    def _features(self, state: OmniSyncState, chunk: CropChunk) -> Tensor:
        """Speech features ``[n m a]`` of a window's latent frames."""
        config = self.config
        first, count = config.first_heard(state.latents), config.heard_frames(config.window)
        features = frame_features(config, self.networks.speech, chunk, state.start, first, count)
        return by_latent_frame(config, features)

    def _decode(self, state: OmniSyncState, latents: Tensor) -> Tensor:
        decoded: Tensor = self.networks.codec.decode(latents.to(self.dtype), state.decoding)
        return decoded[0].permute(0, 2, 3, 1).float()


def faded(before: Tensor, after: Tensor) -> Tensor:
    """From one window's latents ``[b n c h w]`` to the next one's, evenly over the frames that both have."""
    n = before.shape[1]
    shares = torch.arange(1, n + 1, device=before.device, dtype=before.dtype) / (n + 1)
    return torch.lerp(before, after, shares.view(1, -1, 1, 1, 1))


def _spec(config: OmniSyncConfig, name: str, dtype: torch.dtype) -> ModelSpec:
    past, lookahead = (config.speech_past, config.speech_lookahead) if config.speech == "whisper" else (0, 0)
    rows = Fraction(ROWS_BEFORE, MEL_RATE)
    back = config.frames_per_latent * config.overlap + config.audio_reach + past + SLACK_FRAMES
    return ModelSpec(
        name=name,
        template=config.template,
        crop_size=config.crop_size,
        first_chunk_frames=config.first_chunk_frames,
        chunk_frames=config.chunk_frames,
        reference_frames=0,
        audio_before_s=Fraction(back, config.rate) + rows,
        audio_after_s=Fraction(config.audio_reach + lookahead + SLACK_FRAMES, config.rate),
        audio="waveform" if config.speech == "whisper" else "mel",
        rate=Fraction(config.rate),
        lag_frames=config.frames_per_latent * config.overlap,
        details={
            "steps": len(config.sampler().times()) - 1,
            "passes": config.sampler().passes(),
            "dtype": str(dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "codec": config.codec,
            "speech": config.speech,
        },
    )
