"""How late clips are: listed, by the sync expert, or by it over a folder."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.training.dataset.av_lag import OUT_OF_SYNC, TOO_LATE, UNKNOWN, ClipLag, decide_lags
from lipsync_cli.training.dataset.limits import Limits
from tests.helpers.segmented_sources import make_source, sync_curve


@pytest.mark.parametrize(
    ("listed", "heard", "windows", "depth", "expected"),
    [
        (2, 2, 60, 0.4, ClipLag(2, "csv", 0.4)),
        (2, 3, 60, 0.4, ClipLag(2, "csv", 0.0, OUT_OF_SYNC)),  # a frame apart is no contradiction, but seen as bad
        (2, -1, 60, 0.4, ClipLag(-1, "clip", 0.4)),  # the expert is sure and disagrees
        (-12, 1, 60, 0.4, ClipLag(1, "clip", 0.4)),  # a listed lag that is a failed measurement
        (None, -3, 60, 0.4, ClipLag(-3, "clip", 0.4)),
        (None, 9, 60, 0.4, ClipLag(9, "clip", 0.4, TOO_LATE)),
        (None, 1, 60, 0.05, ClipLag(rejected=UNKNOWN)),
        (None, 1, 15, 0.4, ClipLag(rejected=UNKNOWN)),
        (1, 1, 15, 0.4, ClipLag(1, "csv", 0.4)),
    ],
)
def test_decide_lags_takes_the_listed_the_measured_or_none(listed, heard, windows, depth, expected) -> None:
    pair = make_source("one", lag=listed, segmented={"windows": windows, "curve": sync_curve(heard, depth)})
    lag = decide_lags([pair], Limits())[pair[0].path]
    assert (lag.frames, lag.origin, lag.rejected) == (expected.frames, expected.origin, expected.rejected)
    assert lag.confidence == (None if expected.confidence is None else pytest.approx(expected.confidence, abs=1e-6))


def test_decide_lags_measures_short_clips_of_a_folder_together() -> None:
    rng = np.random.default_rng(1)
    pairs = []
    for number in range(20):
        noisy = (np.array(sync_curve(1, 0.35)) + rng.normal(0, 0.12, 31)).tolist()
        pairs.append(make_source(f"{number}", lag=None, segmented={"windows": 15, "curve": noisy}))
    lags = decide_lags(pairs, Limits())
    assert {(lag.frames, lag.origin) for lag in lags.values()} == {(1, "folder")}
    assert all(lag.rejected == UNKNOWN for lag in decide_lags(pairs[:3], Limits()).values()), "too few windows"
