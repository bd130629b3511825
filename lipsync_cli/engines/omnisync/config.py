"""The ``[generator]`` table of an OmniSync model card: sizes, encoders, windows, and how it samples."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lipsync_cli import hub
from lipsync_cli.core.types import SPEECH_RATE
from lipsync_cli.engines.omnisync.guidance import Guidance, parse_window
from lipsync_cli.engines.omnisync.nn.config import OmniSyncSizes
from lipsync_cli.engines.omnisync.noise_start import NoiseStart
from lipsync_cli.engines.omnisync.sampler import FROM_NOISE, Sampler
from lipsync_cli.nn.wan.config import FRAMES_PER_LATENT, LATENT_CHANNELS
from lipsync_cli.nn.wan.patches import PATCH
from lipsync_cli.nn.wan.umt5 import TOKENS, TextSizes
from lipsync_cli.nn.whisper import SAMPLES_PER_POSITION, WhisperSizes

KIND, VERSION = "omnisync", 1
WAN_COMPRESSION = 8
MEL_WIDTH = 160
"""Two log-mel rows side by side: as long as a feature of Whisper."""
FEATURES_PER_FRAME = 2


class Sampling(BaseModel):
    """How a model samples; ``OmniSyncOptions`` change any of it for a dub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(50, ge=1, le=1000)
    shift: float = Field(1.0, gt=0)
    pni: Literal["on", "off"] = "on"
    pni_tau: float = Field(0.92, ge=0, le=1)
    pni_steps: Literal["cut", "full"] = "cut"
    pni_mouth_tau: float | None = Field(None, ge=0, le=1)
    audio_cfg: float = Field(4.5, ge=0)
    cfg_map: Literal["mouth", "flat"] = "mouth"
    cfg_base: float = Field(1.0, ge=0)
    cfg_spread: float = Field(0.35, gt=0)
    cfg_window: str = "power:1.5"
    cfg_mode: Literal["normalised", "literal"] = "normalised"
    cfg_min: float = Field(1.0, ge=0)
    region_lock: float = Field(0.0, ge=0, le=1)

    @field_validator("cfg_window")
    @classmethod
    def _check_window(cls, value: str) -> str:
        parse_window(value)
        return value

    @model_validator(mode="after")
    def _check_map(self) -> Sampling:
        if self.pni_mouth_tau is not None and self.cfg_map == "flat":
            raise ValueError("pni_mouth_tau needs to know where the mouth is, so cfg_map = flat rules it out")
        return self

    def sampler(self) -> Sampler:
        """What these choices come to."""
        start = NoiseStart(self.pni_tau, self.pni_steps, self.pni_mouth_tau) if self.pni == "on" else FROM_NOISE
        guidance = Guidance(
            self.audio_cfg, self.cfg_base, parse_window(self.cfg_window), self.cfg_mode, min_scale=self.cfg_min
        )
        return Sampler(self.steps, self.shift, start, guidance, self.region_lock)


class OmniSyncConfig(Sampling):
    """Sizes and choices of a model. ``window`` and ``overlap`` are latent frames, the rest of time video frames.

    ``codec``: Wan's autoencoder (four frames a latent, the first alone), or the pixels themselves, folded.
    ``speech``: Whisper's features or plain log-mel rows; each latent frame hears its own video frames and
    ``audio_reach`` more on either side. Whisper hears ``speech_past`` frames before a window and ``speech_lookahead``
    after it. ``text_source``: the prompt as UMT5 reads it, or none.
    """

    crop_size: int = Field(512, ge=16)
    template: Literal["lower-face", "latentsync"] = "lower-face"
    rate: int = Field(25, ge=1)
    width: int = Field(ge=12)
    feed_forward: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    time_frequencies: int = Field(128, ge=1)
    codec: Literal["wan", "pixels"] = "wan"
    vae_width: int = Field(96, ge=4)
    pixel_fold: int = Field(8, ge=1)
    speech: Literal["whisper", "mel"] = "whisper"
    speech_width: int = Field(768, ge=8)
    speech_layers: int = Field(12, ge=1)
    speech_heads: int = Field(12, ge=1)
    speech_feed_forward: int = Field(3072, ge=8)
    speech_mels: int = Field(80, ge=1)
    speech_seconds: int = Field(30, ge=1, le=30)
    speech_past: int = Field(50, ge=0)
    speech_lookahead: int = Field(12, ge=0)
    audio_reach: int = Field(2, ge=0)
    text_source: Literal["umt5", "none"] = "umt5"
    text_width: int = Field(4096, ge=1)
    text_tokens: int = Field(TOKENS, ge=1)
    text_layers: int = Field(24, ge=1)
    text_feed_forward: int = Field(10240, ge=1)
    text_vocabulary: int = Field(256384, ge=2)
    prompt: str = Field("a person talking, with clear movements of the face and the teeth", min_length=1)
    window: int = Field(21, ge=2)
    overlap: int = Field(5, ge=1)

    @model_validator(mode="after")
    def _check(self) -> OmniSyncConfig:
        if self.crop_size % (self.compression * PATCH):
            raise ValueError(f"crop_size must be a multiple of {self.compression * PATCH}, got {self.crop_size}")
        if 2 * self.overlap > self.window:
            raise ValueError(f"windows of {self.window} latent frames cannot overlap by {self.overlap}")
        heard = self.speech_past + self.heard_frames(self.window) + self.speech_lookahead
        if self.speech == "whisper" and heard > self.speech_seconds * self.rate:
            raise ValueError(f"a window is heard over {heard} frames, more than {self.speech_seconds} s")
        self.transformer()
        return self

    def transformer(self) -> OmniSyncSizes:
        """Sizes of the transformer."""
        return OmniSyncSizes(
            channels=LATENT_CHANNELS if self.codec == "wan" else 3 * self.pixel_fold**2,
            width=self.width,
            feed_forward=self.feed_forward,
            layers=self.layers,
            heads=self.heads,
            audio_width=self.speech_width if self.speech == "whisper" else MEL_WIDTH,
            audio_tokens=FEATURES_PER_FRAME * self.heard_frames(1),
            text_width=self.text_width if self.text_source == "umt5" else 1,
            time_frequencies=self.time_frequencies,
        )

    def whisper(self) -> WhisperSizes:
        """Sizes of the speech encoder."""
        return WhisperSizes(
            self.speech_width, self.speech_layers, self.speech_heads, self.speech_feed_forward, self.speech_mels,
            self.speech_seconds * SPEECH_RATE // SAMPLES_PER_POSITION,
        )  # fmt: skip

    def text(self) -> TextSizes:
        """Sizes of the text encoder."""
        heads = max(1, self.text_width // 64)
        return TextSizes(self.text_width, self.text_feed_forward, self.text_layers, heads, self.text_vocabulary)

    @property
    def frames_per_latent(self) -> int:
        """Video frames behind a latent frame, except a stream's first, which holds a single one."""
        return FRAMES_PER_LATENT if self.codec == "wan" else 1

    @property
    def compression(self) -> int:
        """Pixels of the crop along a side of a latent pixel."""
        return WAN_COMPRESSION if self.codec == "wan" else self.pixel_fold

    @property
    def latent_size(self) -> int:
        """Rows and columns of a latent frame."""
        return self.crop_size // self.compression

    @property
    def first_chunk_frames(self) -> int:
        """Video frames of a segment's first window."""
        return self.frames_per_latent * (self.window - 1) + 1

    @property
    def chunk_frames(self) -> int:
        """Video frames that every later window adds."""
        return self.frames_per_latent * (self.window - self.overlap)

    def heard_frames(self, latents: int) -> int:
        """Video frames whose features so many latent frames hear."""
        return self.frames_per_latent * latents + 2 * self.audio_reach

    def first_heard(self, latent: int) -> int:
        """The first video frame whose features latent frame ``latent`` of a segment hears; may be negative."""
        return self.frames_per_latent * (latent - 1) + 1 - self.audio_reach


def read_config(table: dict[str, Any], *, model: str) -> OmniSyncConfig:
    """Validate the table of model ``model``; ModelError names the wrong key."""
    return hub.read_table(table, OmniSyncConfig, model=model)
