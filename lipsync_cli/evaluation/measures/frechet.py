"""FID and FVD: how far the lower faces of all dubs are from the real ones, as sets of features.

The distance is Fréchet's between Gaussians (Heusel et al. 2017): FID with an image network's features, FVD with a
video network's. Both need many clips, so every clip gives features and a protocol's are compared at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import Float32, UInt8
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, LowerFaces, MatchedFrames, Measure
from lipsync_cli.evaluation.measures.torchscript import load_script, planar
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import NetworkFile

INCEPTION = NetworkFile("inception", "inception-2015-12-05.pt", load_script)
I3D = NetworkFile("i3d", "i3d_torchscript.pt", load_script)
EVERY = 5
FVD_FRAMES, FVD_SIZE = 16, 224


def frechet_distance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½) of features ``[n d]``, n ≥ 2 each.

    The trace of the root is the sum of the roots of the eigenvalues of Σ₁Σ₂, which are real and not negative.
    Raises ValueError for fewer rows or unequal widths.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(f"two sets [n≥2 d] of equal width are needed, got {first.shape} and {second.shape}")
    apart = first.mean(0) - second.mean(0)
    cov_a, cov_b = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (first, second))
    roots = np.sqrt(np.clip(np.linalg.eigvals(cov_a @ cov_b).real, 0, None))
    return float(apart @ apart + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum())


def image_features(network: Any, pictures: list[UInt8]) -> Float32:
    """Features ``[n 2048]`` of pictures ``[h w 3]`` of one size."""
    import torch

    with torch.inference_mode():
        return np.asarray(network(planar(pictures), return_features=True).numpy())


def video_features(network: Any, frames: list[UInt8]) -> Float32:
    """Features ``[1 d]`` of a clip of frames ``[h w 3]``, resized to 224 and scaled to [−1, 1] as StyleGAN-V does."""
    import torch
    from torch.nn import functional as F

    with torch.inference_mode():
        pixels = planar(frames).float()
        pixels = F.interpolate(pixels, (FVD_SIZE, FVD_SIZE), mode="bilinear", antialias=True, align_corners=False)
        clip = (pixels / 127.5 - 1).permute(1, 0, 2, 3)[None]
        return np.asarray(network(clip, rescale=False, resize=False, return_features=True).numpy())


def made_to_real(features: Mapping[str, Float32]) -> float | None:
    """Distance between the parts ``made`` and ``real``; None for fewer than two rows."""
    made, real = features["made"], features["real"]
    return frechet_distance(made, real) if len(made) >= 2 else None


class Frechet(Measure):
    """Every fifth scored lower face for FID, the first sixteen for FVD; holds these crops of both clips."""

    metrics = (
        Metric(
            name="fid",
            title="FID",
            better="lower",
            digits=1,
            section="picture",
            needs=(INCEPTION,),
            shown="table",
            meaning="lower-face crops of all clips against the truth's",
            pool=made_to_real,
        ),
        Metric(
            name="fvd",
            title="FVD",
            better="lower",
            digits=1,
            section="picture",
            needs=(I3D,),
            shown="table",
            meaning="16-frame lower-face clips against the truth's",
            pool=made_to_real,
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._sampled: list[LowerFaces] = []
        self._first: list[LowerFaces] = []
        self._count = 0

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        pair = frames.at_source
        if pair is None:
            return
        if len(self._first) < FVD_FRAMES:
            self._first.append(pair)
        if self._count % EVERY == 0:
            self._sampled.append(pair)
        self._count += 1

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """A single clip has none."""
        return {}

    def features(self) -> Mapping[str, Float32]:
        """See Measure; parts ``made`` and ``real``."""
        networks, features = self.clip.networks, dict[str, Float32]()
        for side, part in enumerate(("made", "real")):
            if self._sampled and networks.has(INCEPTION):
                pictures = [pair[side] for pair in self._sampled]
                features[f"fid_{part}"] = image_features(networks.get(INCEPTION), pictures)
            if len(self._first) == FVD_FRAMES and networks.has(I3D):
                frames = [pair[side] for pair in self._first]
                features[f"fvd_{part}"] = video_features(networks.get(I3D), frames)
        return features
