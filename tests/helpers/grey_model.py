"""A model that draws grey mouths, a drawn head that speaks, and its sound: enough to see that a dub took place."""

from __future__ import annotations

import numpy as np

from lipsync_cli.core.types import GeneratedCrop
from lipsync_cli.dubbing.model import LoadedModel
from lipsync_cli.dubbing.plan import plan_picture
from lipsync_cli.engines.passthrough import Passthrough
from lipsync_cli.settings import DubSettings
from lipsync_cli.synthetic import draw_head, voice


class Grey(Passthrough):
    """Draws a grey mouth."""

    def step(self, state, chunk):
        return [GeneratedCrop(np.full((192, 192, 3), 0.5, np.float32))] * len(chunk.crops)


def grey_model() -> LoadedModel:
    """As ``load_model`` would give it."""
    return LoadedModel(plan_picture(DubSettings(model="passthrough", device="cpu")), "cpu", Grey())


def heads(number: int) -> list[np.ndarray]:
    """A drawn head that opens and closes its mouth."""
    return [draw_head(openness=float(0.1 * np.sin(np.pi * 3 * i / 25) ** 2)) for i in range(number)]


SOUND = voice(2.0).astype(np.float32) / 32768
"""Two seconds at 16 kHz in [-1, 1]."""
