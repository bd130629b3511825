"""LatentSync (arXiv 2412.09262): aligned crops and sound in, crops that speak the sound out.

The model's clock is 25 frames per second. A window of it (16 frames) is shown its crops whole and with the lower face
hidden, and is sampled from noise that all windows of a segment share. A window always has all its frames, as in
training: after the segment's last crop, that one stays on screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from lipsync_cli.core.types import Crop, GeneratedCrop, ModelSpec
from lipsync_cli.engines import mouth_mask
from lipsync_cli.engines.latentsync import parity
from lipsync_cli.engines.latentsync.config import COMPRESSION, KIND, LatentSyncConfig
from lipsync_cli.engines.latentsync.nn.frame_vae import FrameVae
from lipsync_cli.engines.latentsync.nn.speech import WhisperActivations
from lipsync_cli.engines.latentsync.nn.unet import LATENT_CHANNELS, LatentSyncUNet
from lipsync_cli.engines.latentsync.sampling import WindowSampler
from lipsync_cli.engines.latentsync.speech_features import SpeechLoudness, SpeechTokens
from lipsync_cli.engines.model_clock import ClockedModel, ClockState, pixels_of
from lipsync_cli.engines.protocol import CropChunk

GREY = 0.5


@dataclass(frozen=True, slots=True)
class LatentSyncNetworks:
    """Everything with weights, on one device."""

    unet: LatentSyncUNet
    vae: FrameVae
    speech: WhisperActivations


@dataclass(slots=True, kw_only=True)
class LatentSyncState(ClockState):
    """What a segment carries beside its clock. ``noise`` float32[4 h w]: what every frame starts from."""

    noise: Tensor
    speech: SpeechLoudness
    draws: parity.Draws | None = None


class LatentSync(ClockedModel[LatentSyncState]):
    """Loaded networks as a model; stages: encode, speech, unet, decode.

    ``release`` reproduces what the authors' release does differently.
    """

    def __init__(
        self, networks: LatentSyncNetworks, config: LatentSyncConfig, *, name: str = KIND, release: bool = False
    ) -> None:
        self.dtype = networks.unet.dtype
        super().__init__(_spec(config, name, self.dtype, release=release), networks.unet.device)
        self.networks, self.config, self.release = networks, config, release
        self._sampler = WindowSampler.of(config)
        self._speech = SpeechTokens(networks.speech, config, whole=release)
        # Enlarged, the release's mask has a soft edge, and so has the channel that tells the network of it.
        kept = (mouth_mask.release_blend if release else mouth_mask.kept_pixels)(config.crop_size)
        self._kept = torch.from_numpy(kept).to(self.device)

    def flops_per_frame(self) -> float:
        from lipsync_cli.engines.latentsync.cost import model_cost

        return model_cost(self.config).flops_per_frame

    def begin(self, references: Sequence[Crop], start: Fraction, *, seed: int) -> LatentSyncState:
        """Noise for all of the segment; its crops are their own references, so none are needed here."""
        shape, speech = (LATENT_CHANNELS, *2 * (self.config.latent_size,)), SpeechLoudness.at(start)
        if self.release:
            draws = parity.Draws(self.device, self.dtype)
            return LatentSyncState(start=start, noise=draws.normal(*shape), speech=speech, draws=draws)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        return LatentSyncState(start=start, noise=noise, speech=speech)

    def next_count(self, state: LatentSyncState, last: int) -> int:
        return min(last + 1 - state.taken, self.config.chunk) if self.release else self.config.chunk

    def make(self, state: LatentSyncState, crops: Sequence[Crop], chunk: CropChunk) -> Tensor:
        """The next window of the clock."""
        count = len(crops)
        with self.watch("encode"):
            condition = self._condition(state, pixels_of(crops, self.device))
        with self.watch("speech"):
            audio = self._speech.tokens(state.speech, chunk.wave, state.taken, count)
        with self.watch("unet"):
            noise = state.noise.expand(1, count, -1, -1, -1)
            latents = self._sampler.sample(self.networks.unet, noise, condition, audio)
        with self.watch("decode"):
            return self.networks.vae.decode(latents[0]).permute(0, 2, 3, 1)

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

    def hand_out(
        self, state: LatentSyncState, frame: int, crop: Crop, chunk: CropChunk | None
    ) -> GeneratedCrop | None:
        generated = GeneratedCrop(state.pictures[frame])
        if not self.release or chunk is None:
            return generated
        spoken = parity.video_frames(len(self._speech.whole_track(state.speech, chunk.wave)))
        if frame + state.speech.first_frame >= spoken:
            return None
        return GeneratedCrop(mouth_mask.mouth_only(generated.on_host(), crop.rgb))


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
