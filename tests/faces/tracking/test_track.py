"""What a track remembers of its face."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import FaceState
from lipsync_cli.faces.face_patch import FacePatch
from lipsync_cli.faces.head_pose import HeadPose
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.faces.tracking.landmark_fit import LandmarkFit, correlation, normalised
from lipsync_cli.faces.tracking.track import Observation, Track
from tests.helpers.disc_faces import frame, pose, scene

OK, PROFILE, SMALL = FaceState.OK, FaceState.PROFILE, FaceState.TOO_SMALL
BLANK = scene(16, 16)


def appearance(seed: int) -> np.ndarray:
    return normalised(np.random.default_rng(seed).random((24, 24), np.float32))


def fit_at(x: float, seed: int = 0) -> LandmarkFit:
    where = pose(x, 130, 90)
    patch = FacePatch(np.zeros((160, 160, 3), np.uint8), np.eye(2, 3))
    landmarks = transform_points(where, MEAN_FACE[:, :2])
    return LandmarkFit(landmarks, where, patch, HeadPose(0, 0, 0, 0), appearance(seed), 1.0)


def track_at(x: float) -> Track:
    return Track(0, 0, appearance(0), pose(x, 130, 90), 0.0, 0.0, 1.0)


def observation(index: int, x: float = 100.0, state: FaceState = OK, yaw: float = 0.0) -> Observation:
    where = pose(x, 130, 90)
    return Observation(index, index / 25, transform_points(where, MEAN_FACE[:, :2]), where, yaw, 1.0, state)


def test_track_expects_half_of_its_last_speed() -> None:
    track = track_at(100)
    track.move_to(fit_at(110), 0.04)
    np.testing.assert_allclose(track.velocity, [250, 0], atol=1e-9)
    np.testing.assert_allclose(track.predict(0.08), pose(115, 130, 90), atol=1e-9)


def test_track_does_not_coast_for_longer_than_a_tenth_of_a_second() -> None:
    track = track_at(100)
    track.move_to(fit_at(110), 0.04)
    np.testing.assert_allclose(track.predict(5.0), track.predict(0.14))
    np.testing.assert_allclose(track.predict(0.14), pose(122.5, 130, 90), atol=1e-9)


@pytest.mark.parametrize("time", [0.0, 0.2, 3.0])
def test_track_has_no_speed_after_a_gap(time: float) -> None:
    track = track_at(100)
    track.move_to(fit_at(150), time)
    np.testing.assert_array_equal(track.velocity, [0, 0])
    assert track.last_time == time


def test_track_appearance_follows_slowly() -> None:
    track, new = track_at(100), appearance(1)
    before = track.appearance
    track.move_to(fit_at(100, seed=1), 0.04)
    assert correlation(track.appearance, track.appearance) == pytest.approx(1)
    assert correlation(track.appearance, before) > 0.95
    for i in range(40):
        track.move_to(fit_at(100, seed=1), 0.08 + 0.04 * i)
    assert correlation(track.appearance, new) > 0.99


def test_track_confirmed_by_a_detector_says_when_and_how_well() -> None:
    track = track_at(100)
    track.confirm(2.5, 0.7)
    assert (track.confirmed_time, track.score) == (2.5, 0.7)


def test_interpolated_observation_lies_on_the_straight_way() -> None:
    first, last = observation(0, 100, yaw=0.1), observation(4, 140, yaw=0.5)
    between = first.interpolated(last, frame(1, BLANK))
    assert (between.index, between.time) == (1, 0.04)
    np.testing.assert_allclose(between.landmarks, observation(1, 110).landmarks)
    np.testing.assert_allclose(between.pose, pose(110, 130, 90))
    assert between.yaw == pytest.approx(0.2)


@pytest.mark.parametrize(("before", "after", "state"), [(OK, OK, OK), (PROFILE, OK, PROFILE), (OK, SMALL, SMALL)])
def test_interpolated_observation_is_hindered_by_what_hinders_either(
    before: FaceState, after: FaceState, state: FaceState
) -> None:
    between = observation(0, state=before).interpolated(observation(2, state=after), frame(1, BLANK))
    assert between.state == state


def test_track_add_fills_in_the_frames_after_its_last_observation() -> None:
    track = track_at(100)
    track.add(observation(3), [frame(i, BLANK) for i in range(3)])
    assert [o.index for o in track.observations] == [3]
    track.add(observation(6), [frame(i, BLANK) for i in range(2, 6)])
    assert [o.index for o in track.observations] == [3, 4, 5, 6]


def test_track_extent_is_the_box_of_the_landmarks_where_there_are_any() -> None:
    track = track_at(100)
    track.add(replace(observation(3), landmarks=np.array([[1.0, 5.0], [4.0, 2.0], [3.0, 3.0]])), ())
    assert track.extent_at(3) == (1.0, 2.0, 4.0, 5.0)
    assert track.extent_at(4) is None
