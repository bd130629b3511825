"""FID and FVD of a protocol: features of every clip kept beside its score, compared over all clips at the end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_cli.core.types import Float32, UInt8
from lipsync_cli.evaluation.accumulators import recut
from lipsync_cli.evaluation.clip_reader import MeasuredFrame
from lipsync_cli.evaluation.measures import perceptual
from lipsync_cli.evaluation.measures.frechet import frechet_distance
from lipsync_cli.evaluation.networks import MetricNetworks

EVERY = 5
METRICS = ("fid", "fvd")


class FeatureMeter:
    """Every fifth scored lower face for FID, the first sixteen for FVD, of the made and of the real clip."""

    def __init__(self, judges: MetricNetworks) -> None:
        self._judges = judges
        self._pairs: list[tuple[UInt8, UInt8]] = []
        self._first: list[tuple[UInt8, UInt8]] = []
        self._seen = 0

    @property
    def wanted(self) -> bool:
        """Whether a network is there to take features with."""
        return self._judges.inception is not None or self._judges.i3d is not None

    def add(self, made: MeasuredFrame, real: MeasuredFrame | None) -> None:
        """A scored frame and the same frame before dubbing."""
        if not self.wanted or real is None or real.crop is None:
            return
        pair = recut(made.rgb, real.crop), real.crop.rgb
        if len(self._first) < perceptual.FVD_FRAMES:
            self._first.append(pair)
        if self._seen % EVERY == 0:
            self._pairs.append(pair)
        self._seen += 1

    def save(self, path: Path) -> None:
        """Write the features as npz; nothing when there are none."""
        features = self._features()
        if features:
            np.savez(path, **features)

    def _features(self) -> dict[str, Any]:
        out: dict[str, Float32] = {}
        for side, name in enumerate(("made", "real")):
            if self._judges.inception is not None and self._pairs:
                pictures = [pair[side] for pair in self._pairs]
                out[f"fid_{name}"] = perceptual.inception_features(self._judges.inception, pictures)
            if self._judges.i3d is not None and len(self._first) == perceptual.FVD_FRAMES:
                frames = np.stack([pair[side] for pair in self._first])
                out[f"fvd_{name}"] = perceptual.video_features(self._judges.i3d, frames)[None]
        return out


def distances(clips: Iterable[tuple[str, str]], folder: Path) -> dict[str, dict[str, float]]:
    """FID and FVD by protocol, over those (protocol, name) pairs that have features, if there are two."""
    gathered: dict[tuple[str, str], list[Float32]] = {}
    for protocol, name in clips:
        path = folder / protocol / f"{name}.npz"
        if not path.is_file():
            continue
        with np.load(path) as kept:
            for key in kept.files:
                gathered.setdefault((protocol, key), []).append(kept[key])
    out: dict[str, dict[str, float]] = {}
    for protocol, key in gathered:
        metric, _, side = key.partition("_")
        if side == "made":
            made, real = (np.concatenate(gathered[protocol, f"{metric}_{name}"]) for name in ("made", "real"))
            if len(made) >= 2:
                out.setdefault(protocol, {})[metric] = frechet_distance(made, real)
    return out
