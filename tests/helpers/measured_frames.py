"""Frames for measures: noise with a mean face in it, and what measures are made with."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from lipsync_cli.core.types import Alignment, Crop, Face, FaceState
from lipsync_cli.evaluation.clip_reader import MeasuredFrame
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.faces.mean_face import MEAN_FACE

UPRIGHT = np.array([[1.0, 0, 0], [0, 1, 0]])
NO_SOUNDS = ClipSounds(Fraction(0))


class FixedNetworks(MetricNetworks):
    """One network, whatever role is asked for."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self._network = network

    def get(self, role: Any) -> Any:
        return self._network


def context(network: Any = None) -> ClipContext:
    """An upright clip."""
    return ClipContext(UPRIGHT, MetricNetworks() if network is None else FixedNetworks(network))


def noise(seed: int, size: int = 128) -> np.ndarray:
    """A picture ``[size size 3]``."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def measured_frame(index: int, rgb: np.ndarray, opening: float = 0.0) -> MeasuredFrame:
    """Frame ``index`` at 25 Hz, whose lips are ``opening`` face widths apart; the crop is its first 96 pixels."""
    points = MEAN_FACE[:, :2] * 100 + 20
    points[[65, 66, 67], 1] += 100 * opening
    face = Face(0, (20.0, 20.0, 120.0, 120.0), points, 1.0, 0.0, FaceState.OK)
    crop = Crop(np.ascontiguousarray(rgb[:96, :96]), Alignment(UPRIGHT, 96), points)
    return MeasuredFrame(index, Fraction(index, 25), rgb, face, crop)


def faceless(index: int, rgb: np.ndarray) -> MeasuredFrame:
    """The same without a face."""
    return MeasuredFrame(index, Fraction(index, 25), rgb, None, None)
