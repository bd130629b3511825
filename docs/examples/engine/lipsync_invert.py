"""An engine that inverts the lower face: the least that a package needs to bring its own."""

from fractions import Fraction

import numpy as np
from pydantic import Field

from lipsync_cli.engines import Engine, EngineOptions, GeneratedCrop, LipSyncModel, ModelCard, ModelSpec

CARD = ModelCard(name="invert", version=1, kind="invert", summary="Inverts the lower face.", licence="MIT")


class InvertOptions(EngineOptions):
    strength: float = Field(1.0, ge=0, le=1, description="How far colours are inverted.")


class Invert(LipSyncModel):
    spec = ModelSpec("invert", "lower-face", 192, 4, 4, 0, Fraction(1, 5), Fraction(1, 5))

    def __init__(self, strength):
        self.strength = np.float32(strength)

    def begin(self, references, start, *, seed):
        return None

    def step(self, state, chunk):
        pictures = [crop.rgb / np.float32(255) for crop in chunk.crops]
        return [GeneratedCrop(rgb + self.strength * (1 - 2 * rgb)) for rgb in pictures]


class InvertEngine(Engine):
    kind, Options = "invert", InvertOptions

    def build(self, card, config, options, placement):
        return Invert(options.strength)
