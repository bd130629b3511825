"""Options of tracking: their ranges, and that they are what the settings say."""

from __future__ import annotations

import pytest

from lipsync_cli.faces.options import QualityOptions, TrackOptions, track_options
from lipsync_cli.settings import DubSettings


def test_track_options_are_those_of_the_settings() -> None:
    settings = DubSettings(
        lookahead_frames=5, detect_every=7, detect_size=480, read_every=2, min_face_px=32, max_yaw=0.4,
        spare_covered=False,
    )  # fmt: skip
    assert track_options(settings) == TrackOptions(
        lookahead_frames=5,
        detect_every=7,
        detect_size=480,
        read_every=2,
        quality=QualityOptions(min_face_px=32, max_yaw=0.4, covered=False),
    )


def test_track_options_of_default_settings_are_the_defaults() -> None:
    assert track_options(DubSettings()) == TrackOptions()


def test_track_options_read_no_more_seldom_than_the_lookahead_allows() -> None:
    assert track_options(DubSettings(lookahead_frames=1, read_every=8)).read_every == 2


@pytest.mark.parametrize(
    "bad", [{"lookahead_frames": -1}, {"detect_every": 0}, {"detect_size": 79}, {"max_faces": 0}]
)
def test_track_options_out_of_range_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        TrackOptions(**bad)


@pytest.mark.parametrize(("lookahead", "every"), [(3, 5), (0, 2), (3, 0)])
def test_track_options_need_lookahead_to_interpolate(lookahead: int, every: int) -> None:
    with pytest.raises(ValueError, match="need as much look-ahead"):
        TrackOptions(lookahead_frames=lookahead, read_every=every)


@pytest.mark.parametrize("bad", [{"min_face_px": 0}, {"max_yaw": 1.5}, {"max_yaw": 0}, {"hold_frames": 0}])
def test_quality_limits_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        QualityOptions(**bad)
