"""What a model with a clock of its own sees of a video: at each point the crop that is on screen then."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lipsync_cli.core.types import Crop

ON_TIME = Fraction(1, 16)
"""A crop this share of a frame after a point of the clock is on screen there; containers round their times."""


def crop_at(on_screen: Sequence[tuple[Fraction, Crop]], position: Fraction) -> Crop:
    """The last crop that is not later than ``position``; before the first, the first."""
    shown = [crop for at, crop in on_screen if at <= position + ON_TIME]
    return shown[-1] if shown else on_screen[0][1]
