"""How many frames of a video a generator's chunks take, and how many it needs before the first."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from lipsync_cli.core.types import ModelSpec

MIN_SEGMENT_FRAMES = 5
"""Fewer frames than this are left alone: a mouth that changes for a blink of an eye is worse than none."""
GRID_TOLERANCE = Fraction(1, 16)
"""A frame this share of a step after a grid point is on it: containers round times to milliseconds."""


def chunk_end(spec: ModelSpec, position: Fraction) -> Fraction:
    """Last position of the chunk that a frame at ``position`` of the generator's clock belongs to."""
    ends = spec.first_chunk_frames - 1
    beyond = max(0, ceil(position - GRID_TOLERANCE) - ends)
    return Fraction(ends + -(-beyond // spec.chunk_frames) * spec.chunk_frames)


def frames_to_begin(spec: ModelSpec, reference_frames: int) -> int:
    """Frames that must be there before a segment begins: its references, and enough to be worth it."""
    references = reference_frames if spec.reference_frames else 0
    return max(references, spec.first_chunk_frames if spec.rate is None else 0, MIN_SEGMENT_FRAMES)


def frames_per_chunk(spec: ModelSpec, rate: Fraction) -> tuple[int, int]:
    """The most frames of a video of ``rate`` that the first chunk and a later one take."""
    share = rate / spec.rate if spec.rate is not None else Fraction(1)
    return ceil(spec.first_chunk_frames * share), ceil(spec.chunk_frames * share)


def lag_frames(spec: ModelSpec, rate: Fraction) -> int:
    """The most frames of a video of ``rate`` by which drawings come late."""
    return ceil(spec.lag_frames * (rate / spec.rate if spec.rate is not None else Fraction(1)))
