"""What measures a clip: it is fed frames as they are read, and gives the values of its metrics at the end.

A new metric is a subclass of ``Measure`` in a file of its own. It is made known by a line in ``registry.BUILT_IN``,
or outside of this package by an entry point of the group ``lipsync.metrics``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from lipsync_cli.core.types import Float32, Float64, UInt8
from lipsync_cli.evaluation.clip_reader import MeasuredFrame, recut
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.metric_networks import MetricNetworks

LowerFaces = tuple[UInt8, UInt8]


@dataclass(frozen=True)
class MatchedFrames:
    """The frames of one number: of the measured clip, of the clip before dubbing and of the truth, if they are given.

    Crops are made when first asked for and shared by all measures.
    """

    result: MeasuredFrame
    source: MeasuredFrame | None = None
    truth: MeasuredFrame | None = None

    @cached_property
    def at_source(self) -> LowerFaces | None:
        """Lower faces RGB ``[192 192 3]`` of result and source, both cut where the source's lies; None without it."""
        return self.at_truth if self.source is self.truth else self._cut_at(self.source)

    @cached_property
    def at_truth(self) -> LowerFaces | None:
        """The same of result and truth."""
        return self._cut_at(self.truth)

    def _cut_at(self, other: MeasuredFrame | None) -> LowerFaces | None:
        if other is None or other.crop is None:
            return None
        return recut(self.result.rgb, other.crop), other.crop.rgb


@dataclass(frozen=True, slots=True)
class AlignedSound:
    """A file's sound beside the clip: its second ``start`` belongs to the clip's first frame."""

    path: Path
    start: Fraction


@dataclass(frozen=True, slots=True)
class ClipSounds:
    """What a clip is heard with: its ``sound``, and the ``original`` one of the clip before dubbing.

    ``first`` is the time of the clip's first frame, on the clock of ``MeasuredFrame.time``.
    """

    first: Fraction
    sound: AlignedSound | None = None
    original: AlignedSound | None = None


@dataclass(frozen=True, slots=True)
class ClipContext:
    """What measures may need to know of a clip: the affine ``[2 3]`` map from stored to display pixels, networks."""

    to_display: Float64
    networks: MetricNetworks


class Measure:
    """One or several metrics, measured together in one pass over a clip. Subclasses hold numbers, not frames.

    One is made for every clip for which at least one of ``metrics`` has what it needs. It may also give ``series``,
    curves for the report's plots, under ``series_names``.
    """

    metrics: ClassVar[tuple[Metric, ...]]
    series_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, clip: ClipContext) -> None:
        self.clip = clip

    def add(self, frames: MatchedFrames) -> None:
        """The next scored frame, and what belongs to it."""

    def add_on_grid(self, frame: MeasuredFrame | None) -> None:
        """What is on screen 1/25 s later than the last time: None where it is not scored or shows no usable face.

        For measures that compare picture and sound. The first call is about the clip's first frame. ``add`` of the
        same frame comes earlier, but not always by as much.
        """

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """Values by the metrics' names, None where too little was seen. Asked at the end, once for every sound."""
        raise NotImplementedError

    def series(self, sounds: ClipSounds) -> Mapping[str, Sequence[float]]:
        """Curves by name."""
        return {}

    def features(self) -> Mapping[str, Float32]:
        """Rows ``[n d]`` for metrics with ``pool``, called ``NAME_PART``: those of all clips are pooled by part."""
        return {}


def mean_or_none(values: Sequence[float]) -> float | None:
    """Mean of what was measured, None if nothing was."""
    return float(np.mean(values)) if len(values) else None
