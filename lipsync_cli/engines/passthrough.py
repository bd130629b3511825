"""The null engine: asks for crops like any other and leaves every one of them alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lipsync_cli.core.types import Crop, GeneratedCrop, ModelSpec
from lipsync_cli.engines.engine import Engine, EngineConfig, EngineOptions, Placement
from lipsync_cli.engines.protocol import CropChunk, LipSyncModel
from lipsync_cli.hub import ModelCard


class Passthrough(LipSyncModel[None]):
    """Implements the whole protocol and changes nothing; for tests, and to see what the rest of the chain does."""

    def __init__(self, *, crop_size: int = 192, first_chunk_frames: int = 4, chunk_frames: int = 4) -> None:
        self._spec = ModelSpec(
            name="passthrough",
            template="lower-face",
            crop_size=crop_size,
            first_chunk_frames=first_chunk_frames,
            chunk_frames=chunk_frames,
            reference_frames=1,
            audio_before_s=Fraction(16, 100),
            audio_after_s=Fraction(16, 100),
        )

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def begin(self, references: Sequence[Crop], start: Fraction, *, seed: int) -> None:
        """There is no state."""

    def step(self, state: None, chunk: CropChunk) -> list[GeneratedCrop | None]:
        """None for every crop."""
        return [None] * len(chunk.crops)


class PassthroughEngine(Engine[EngineConfig, EngineOptions]):
    """No networks, no options, and no torch."""

    kind = "passthrough"
    title = "Passthrough"

    def build(
        self, card: ModelCard, config: EngineConfig, options: EngineOptions, placement: Placement
    ) -> Passthrough:
        return Passthrough()
