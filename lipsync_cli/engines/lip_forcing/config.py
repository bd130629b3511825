"""The ``[generator]`` table of a Lip Forcing model card: every hyper-parameter, none guessed from a file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lipsync_cli import hub
from lipsync_cli.nn.wan.config import FRAMES_PER_LATENT, TransformerConfig
from lipsync_cli.nn.wan.umt5 import PROMPT, TOKENS, TextSizes

KIND, VERSION = "lip-forcing", 1
COMPRESSION = 8
PATCH = 2


class LipForcingConfig(BaseModel):
    """Sizes, schedule and the choices a checkpoint was trained for.

    ``chunk``, ``window`` and ``sink`` are latent frames. Speech is heard in windows of ``speech_past`` frames
    before a chunk and ``speech_lookahead`` after it, at ``rate`` frames per second.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop_size: int = Field(512, ge=32, multiple_of=COMPRESSION * PATCH)
    template: Literal["latentsync", "lower-face"] = "latentsync"
    rate: int = Field(25, ge=1)
    width: int = Field(ge=8)
    feed_forward: int = Field(ge=8)
    layers: int = Field(ge=4)
    heads: int = Field(ge=1)
    text_width: int = Field(4096, ge=1)
    text_tokens: int = Field(TOKENS, ge=1)
    text_layers: int = Field(24, ge=1)
    text_feed_forward: int = Field(10240, ge=1)
    text_vocabulary: int = Field(256384, ge=2)
    prompt: str = Field(PROMPT, min_length=1)
    speech_width: int = Field(768, ge=16)
    speech_layers: int = Field(12, ge=1)
    speech_heads: int = Field(12, ge=1)
    speech_feed_forward: int = Field(3072, ge=1)
    speech_past: int = Field(64, ge=0)
    speech_lookahead: int = Field(13, ge=0)
    audio_width: int = Field(32, ge=1)
    time_frequencies: int = Field(128, ge=1)
    chunk: int = Field(3, ge=1)
    window: int = Field(7, ge=2)
    sink: int = Field(1, ge=1)
    schedule: tuple[float, ...] = Field((0.999, 0.769), min_length=1)
    vae_width: int = Field(96, ge=4)
    taew_width: int = Field(64, ge=4)
    encoder: Literal["wan", "taew"] = "wan"
    decoder: Literal["wan", "taew"] = "taew"

    @model_validator(mode="after")
    def _check(self) -> LipForcingConfig:
        if any(not 0 < t <= 1 for t in self.schedule) or list(self.schedule) != sorted(set(self.schedule))[::-1]:
            raise ValueError(f"the schedule must fall within (0, 1], got {self.schedule}")
        self.transformer()
        return self

    def transformer(self) -> TransformerConfig:
        """Sizes of the transformer."""
        return TransformerConfig(
            width=self.width,
            feed_forward=self.feed_forward,
            layers=self.layers,
            heads=self.heads,
            text_width=self.text_width,
            audio_features=(self.speech_layers + 2) * self.speech_width,
            audio_width=self.audio_width,
            time_frequencies=self.time_frequencies,
            chunk=self.chunk,
            window=self.window,
            sink=self.sink,
        )

    def text(self) -> TextSizes:
        """Sizes of the text encoder."""
        heads = max(1, self.text_width // 64)
        return TextSizes(self.text_width, self.text_feed_forward, self.text_layers, heads, self.text_vocabulary)

    @property
    def latent_size(self) -> int:
        """Rows and columns of a latent frame."""
        return self.crop_size // COMPRESSION

    @property
    def tokens(self) -> int:
        """Tokens of a latent frame."""
        return (self.latent_size // PATCH) ** 2

    @property
    def first_chunk_frames(self) -> int:
        """Video frames of the first chunk, whose first latent holds a single one."""
        return FRAMES_PER_LATENT * self.chunk - (FRAMES_PER_LATENT - 1)

    @property
    def chunk_frames(self) -> int:
        """Video frames of every later chunk."""
        return FRAMES_PER_LATENT * self.chunk


def read_config(table: dict[str, Any], *, model: str) -> LipForcingConfig:
    """Validate the table of model ``model``; ModelError names the wrong key."""
    return hub.read_table(table, LipForcingConfig, model=model)
