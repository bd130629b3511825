"""What counts as the border, and how its PSNR is taken."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.measures.border import BorderPsnr, border_error
from tests.helpers.measured_frames import NO_SOUNDS, context, faceless


def grey(level: int, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def test_border_is_the_outer_tenth() -> None:
    a, b = grey(100, 50), grey(100, 50)
    b[5:-5, 5:-5] = 0
    assert border_error(a, b) == 0
    b[:5] = 103
    assert border_error(a, b) == pytest.approx(9 * 5 * 50 / (50**2 - 40**2))


def test_border_refuses_pictures_of_unequal_size() -> None:
    with pytest.raises(ValueError, match="unequal shapes"):
        border_error(grey(1, 40), grey(1, 41))


def test_border_psnr_needs_no_face() -> None:
    measure = BorderPsnr(context())
    for index, levels in enumerate((2, 4)):
        measure.add(MatchedFrames(faceless(index, grey(100 + levels)), faceless(index, grey(100))))
    assert measure.values(NO_SOUNDS) == {"border_psnr": pytest.approx(10 * math.log10(255**2 / 10))}
