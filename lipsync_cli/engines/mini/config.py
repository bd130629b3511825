"""Hyper-parameters of ``lip-forcing-mini``."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lipsync_cli import hub
from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.mini.nn.flow_backbone import FlowConfig

KIND, VERSION = "lip-forcing-mini", 1
# Networks that look at fewer pixels than this do not see a mouth.
MIN_NETWORK_SIZE = 64


class MiniConfig(BaseModel):
    """The ``[generator]`` table of the model card: every hyper-parameter, none guessed from a file.

    ``temperature`` scales the noise of each step of ``schedule``; less noise is calmer and nearer to the mean.
    ``sharpen`` is how much of its finest detail is added to a drawing again, against the blur of mixing references.
    The flow is told ``references`` states of the person; drawings are made from up to ``bank`` pictures.
    The renderer's networks look at ``network_size`` pixels of a crop, 0 at all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop_size: int = Field(192, ge=64, multiple_of=16)
    network_size: int = Field(0, ge=0, multiple_of=16)
    template: str = "lower-face"
    latent: int = Field(24, ge=1)
    width: int = Field(128, ge=8)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    chunk: int = Field(4, ge=1)
    window: int = Field(24, ge=4)
    references: int = Field(3, ge=1)
    bank: int = Field(16, ge=1)
    schedule: tuple[float, ...] = (0.999, 0.769)
    temperature: tuple[float, ...] = (1.0, 1.0)
    sharpen: float = Field(0.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _as_many_temperatures_as_steps(self) -> Self:
        if len(self.temperature) != len(self.schedule):
            raise ValueError(f"{len(self.schedule)} steps need as many temperatures, not {len(self.temperature)}")
        return self

    @model_validator(mode="after")
    def _crops_are_whole_multiples(self) -> Self:
        if self.crop_size % self.input_size:
            raise ValueError(f"crop_size {self.crop_size} is no multiple of network_size {self.network_size}")
        return self

    @property
    def input_size(self) -> int:
        """Pixels of the side at which the renderer's networks look at crops."""
        return self.network_size or self.crop_size

    def flow(self) -> FlowConfig:
        """Sizes of the flow network."""
        return FlowConfig(self.latent, self.width, self.layers, self.heads, self.chunk, self.window)


def read_config(table: dict[str, Any], *, model: str) -> MiniConfig:
    """Validate the ``[generator]`` table of a model card; ModelError names the wrong key."""
    return hub.read_table(table, MiniConfig, model=model)


def with_crop_size(config: MiniConfig, crop_size: int) -> MiniConfig:
    """``config`` for drawings of another size, which networks see as large as they do now, or as nearly as whole
    fractions allow. UsageError for a size that leaves them too little."""
    most = config.input_size
    sizes = [size for size in range(MIN_NETWORK_SIZE, most + 1, 16) if crop_size % size == 0]
    if not sizes:
        raise UsageError(
            f"Faces cannot be drawn at {crop_size} px: no whole fraction of it is a multiple of 16 from "
            f"{MIN_NETWORK_SIZE} to {most}.",
            hint="Leave crop_size at 0, or use 96, 128, 192, 256 or 384.",
        )
    return config.model_copy(update={"crop_size": crop_size, "network_size": sizes[-1]})
