"""LPIPS with a stand-in network whose features are known."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.measures.lpips import Lpips, lpips
from tests.helpers.measured_frames import NO_SOUNDS, context, measured_frame
from tests.helpers.metric_files import Means


def picture(*colour: int, size: int = 32) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (size, size, 3)).copy()


def test_lpips_is_the_squared_distance_of_features() -> None:
    assert lpips(Means(), picture(10, 20, 30), picture(13, 20, 34)) == pytest.approx(25)


def test_lpips_of_a_clip_is_the_mean_of_its_lower_faces() -> None:
    measure = Lpips(context(Means()))
    real = measured_frame(0, picture(0, 0, 0, size=128))
    for index, level in enumerate((1, 3)):
        made = measured_frame(index, picture(level, 0, 0, size=128))
        measure.add(MatchedFrames(made, truth=real))
    assert measure.values(NO_SOUNDS) == {"lpips": pytest.approx(5)}
