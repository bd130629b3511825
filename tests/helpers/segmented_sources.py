"""Sources as ``segment_source`` leaves them, with chosen figures."""

from __future__ import annotations

import numpy as np

from lipsync_cli.training.dataset.segmenting import SegmentedSource, Stretch
from lipsync_cli.training.dataset.sources import Source


def sync_curve(lag: int, depth: float = 0.4) -> list[float]:
    """The expert's distances for sound late by ``lag``."""
    return [0.6 - (depth if k - 15 == lag else 0.0) for k in range(31)]


def make_stretch(name: str, **changes) -> Stretch:
    """A stretch of three good seconds, but for ``changes``; the name alone decides its fingerprints."""
    rng = np.random.default_rng(list(name.encode()))
    values = dict(
        name=name, first=0, first_s=0.0, frames=75, source_scale=1.0, face_px=200.0, yaw=0.1, pitch=0.1, blur=80.0,
        jump=0.1, frozen=0.0, level_db=-25.0, picture=rng.bytes(24).hex(), sound=rng.bytes(58).hex(), bytes=100_000,
        sha256="",
    )  # fmt: skip
    return Stretch(**(values | changes))


def make_source(
    name: str,
    *,
    speaker: str | None = "a",
    split: str | None = "train",
    lag: int | None = 0,
    segmented: dict | None = None,
    **stretch,
) -> tuple[Source, SegmentedSource]:
    """A source with one stretch; ``segmented`` and ``stretch`` change fields of the results."""
    source = Source(f"clips/x/{name}.mp4", 3.0, split, speaker, "MIT", lag)
    values = {
        "frames": 75,
        "stretches": [make_stretch(name, **stretch)],
        "windows": 60,
        "curve": sync_curve(lag or 0),
    }
    return source, SegmentedSource(source.path, **(values | (segmented or {})))
