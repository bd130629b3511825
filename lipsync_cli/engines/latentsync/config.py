"""The ``[generator]`` table of a LatentSync model card: every hyper-parameter, none guessed from a file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lipsync_cli import hub
from lipsync_cli.engines.latentsync.nn.speech import AFTER, BEFORE
from lipsync_cli.engines.latentsync.nn.unet import UNetSizes
from lipsync_cli.nn.whisper import WhisperSizes

KIND, VERSION = "latentsync", 1
COMPRESSION = 8
POSITIONS_PER_FRAME = 2

Solver = Literal["ddim", "dpm++"]


class LatentSyncConfig(BaseModel):
    """Sizes, and how a window is sampled unless the settings say otherwise.

    ``chunk`` frames make a window. ``motion`` is for the versions with temporal attention, 1.5 and 1.6. Speech is
    heard from ``speech_past`` frames before a window to ``speech_lookahead`` after it, at ``rate`` frames per second.
    ``guidance`` up to 1 does without the pass that hears nothing; with ``reuse`` of 1 every pass is a full one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop_size: int = Field(256, ge=64, multiple_of=64)
    template: Literal["latentsync", "lower-face"] = "latentsync"
    rate: int = Field(25, ge=1)
    chunk: int = Field(16, ge=1)
    motion: bool = True
    widths: tuple[int, ...] = Field((320, 640, 1280, 1280), min_length=4, max_length=4)
    layers: int = Field(2, ge=1)
    heads: int = Field(8, ge=1)
    groups: int = Field(32, ge=1)
    positions: int = Field(24, ge=1)
    speech_width: int = Field(384, ge=2)
    speech_layers: int = Field(4, ge=1)
    speech_heads: int = Field(6, ge=1)
    speech_feed_forward: int = Field(1536, ge=1)
    speech_positions: int = Field(1500, ge=2)
    speech_past: int = Field(100, ge=BEFORE // POSITIONS_PER_FRAME)
    speech_lookahead: int = Field(25, ge=AFTER // POSITIONS_PER_FRAME)
    vae_widths: tuple[int, ...] = Field((128, 256, 512, 512), min_length=4, max_length=4)
    solver: Solver = "ddim"
    steps: int = Field(20, ge=1, le=100)
    guidance: float = Field(1.5, gt=0, le=10)
    reuse: int = Field(3, ge=1, le=10)

    @model_validator(mode="after")
    def _check(self) -> LatentSyncConfig:
        if any(width % self.groups or width % self.heads for width in self.widths):
            raise ValueError(
                f"the widths {self.widths} are no multiples of {self.groups} groups and {self.heads} heads"
            )
        if any(width % self.groups for width in self.vae_widths):
            raise ValueError(f"the VAE's widths {self.vae_widths} must be multiples of {self.groups} groups")
        if self.speech_width % self.speech_heads:
            raise ValueError(f"a speech width of {self.speech_width} cannot be shared by {self.speech_heads} heads")
        if self.motion and self.chunk > self.positions:
            raise ValueError(
                f"a window of {self.chunk} frames is longer than the {self.positions} that can be told apart"
            )
        heard = self.speech_past + self.chunk + self.speech_lookahead
        if POSITIONS_PER_FRAME * heard > self.speech_positions:
            raise ValueError(f"{heard} frames of speech do not fit into {self.speech_positions} positions")
        return self

    def unet(self) -> UNetSizes:
        """Sizes of the UNet."""
        return UNetSizes(
            widths=self.widths,
            layers=self.layers,
            heads=self.heads,
            groups=self.groups,
            audio_width=self.speech_width,
            positions=self.positions,
            motion=self.motion,
        )

    def whisper(self) -> WhisperSizes:
        """Sizes of the speech encoder."""
        return WhisperSizes(
            self.speech_width, self.speech_layers, self.speech_heads, self.speech_feed_forward,
            positions=self.speech_positions,
        )  # fmt: skip

    @property
    def latent_size(self) -> int:
        """Rows and columns of a latent."""
        return self.crop_size // COMPRESSION

    @property
    def tokens(self) -> int:
        """What a frame hears: positions around it, each with all activations."""
        return (BEFORE + AFTER) * (self.speech_layers + 1)


def read_config(table: dict[str, Any], *, model: str) -> LatentSyncConfig:
    """Validate the table of model ``model``; ModelError names the wrong key."""
    return hub.read_table(table, LatentSyncConfig, model=model)
