"""Which frame is shown when, worked out the plain way."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def frame_on_screen(times: Sequence[Fraction], wanted: Fraction) -> int:
    """Index of the last of the increasing ``times`` that is not later than ``wanted``; 0 before the first."""
    return max((index for index, time in enumerate(times) if time <= wanted), default=0)


def bounce_index(position: int, count: int) -> int:
    """Which of ``count`` frames is shown at ``position`` when playing forward and backward for ever.

    The turning frames are not repeated: 0 1 2 3 2 1 0 1 … for four frames.
    """
    there_and_back = [*range(count), *range(count - 2, 0, -1)]
    return there_and_back[position % len(there_and_back)]
