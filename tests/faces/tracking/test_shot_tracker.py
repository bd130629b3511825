"""Faces of one shot, on drawn pictures: followed, confirmed, lost, found again."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import FaceState
from lipsync_cli.faces.detection import Detection
from lipsync_cli.faces.detectors.protocol import FaceReader
from lipsync_cli.faces.face_patch import UNIT_TO_PATCH
from lipsync_cli.faces.identity import Identities
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.faces.options import QualityOptions, TrackOptions
from lipsync_cli.faces.tracking.cuts import signature
from lipsync_cli.faces.tracking.shot_tracker import ShotTracker
from tests.helpers.disc_faces import (
    DiscDetector,
    DiscPredictor,
    SkinRecogniser,
    frame,
    paint_face,
    pose,
    scene,
    video_info,
)

WIDTH, HEIGHT = 480, 270
EMPTY = scene(WIDTH, HEIGHT)


class Scripted(DiscDetector):
    """Finds faces only while it is ``awake``; notes which pictures it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.awake = True
        self.shown: list[tuple[int, ...]] = []

    def detect(self, picture: np.ndarray, *, thorough: bool = True) -> list[Detection]:
        self.shown.append(picture.shape[:2])
        return super().detect(picture, thorough=thorough) if self.awake else []


class Counting(DiscPredictor):
    def __init__(self) -> None:
        self.calls = 0

    def predict(self, patch: np.ndarray) -> np.ndarray:
        self.calls += 1
        return super().predict(patch)


def shot_tracker(
    options: TrackOptions | None = None,
    detector: DiscDetector | None = None,
    predictor: DiscPredictor | None = None,
) -> ShotTracker:
    reader = FaceReader(detector or DiscDetector(), predictor or DiscPredictor())
    return ShotTracker(
        video_info(WIDTH, HEIGHT), reader, Identities(SkinRecogniser()), options or TrackOptions(detect_every=1)
    )


def feed(tracker: ShotTracker, pictures: Sequence[np.ndarray], start: int = 0) -> None:
    """Each picture as the shot's next frame, with the three before it still held."""
    frames = [frame(start + i, picture) for i, picture in enumerate(pictures)]
    for i, item in enumerate(frames):
        tracker.update(item, signature(item.rgb).grey, frames[max(0, i - 3) : i])


def person(x: float, width: float = 80, skin: int = 170, on: np.ndarray = EMPTY) -> np.ndarray:
    return paint_face(on, pose(x, 130, width), skin)


def places(tracker: ShotTracker) -> dict[int, float]:
    """By track id, the column of the face's middle."""
    return {t.track_id: float(transform_points(t.pose, [[0.5, 0.5]])[0, 0]) for t in tracker.state.tracks}


def test_track_follows_its_face() -> None:
    tracker = shot_tracker()
    feed(tracker, [person(150 + 4 * i) for i in range(10)])
    assert places(tracker) == {0: pytest.approx(186, abs=0.5)}
    (track,) = tracker.state.tracks
    assert [o.index for o in track.observations] == list(range(10))
    assert track.velocity[0] == pytest.approx(100, abs=15)
    assert track.last_time == track.confirmed_time == pytest.approx(9 / 25)


def test_newcomer_is_traced_back_as_far_as_frames_are_held() -> None:
    tracker = shot_tracker(TrackOptions(detect_every=5))
    both = person(380, skin=120, on=person(150))
    feed(tracker, [person(150), *[both] * 10])
    newcomer = tracker.state.tracks[1]
    assert newcomer.observations[0].index == 2  # found at frame 5, with three before it at hand
    assert [o.index for o in newcomer.observations] == list(range(2, 11))


def test_newcomer_is_not_traced_back_to_where_nobody_was() -> None:
    tracker = shot_tracker(TrackOptions(detect_every=5))
    feed(tracker, [person(100)] * 4 + [person(380, skin=120, on=person(100))] * 4)
    assert tracker.state.tracks[1].observations[0].index == 4


def test_landmarks_that_slipped_are_fitted_anew_from_the_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sticky(DiscPredictor):
        """Reads a face where it is expected, whatever the patch shows."""

        def predict(self, patch: np.ndarray) -> np.ndarray:
            return transform_points(UNIT_TO_PATCH, MEAN_FACE[:, :2])

    monkeypatch.setattr("lipsync_cli.faces.tracking.shot_tracker.MIN_SIMILARITY", -1.0)
    tracker = shot_tracker(predictor=Sticky())
    feed(tracker, [person(200)] * 2)
    feed(tracker, [person(235)], start=2)
    assert places(tracker) == {0: pytest.approx(235, abs=1)}
    feed(tracker, [person(250)], start=3)  # where the landmarks are expected is near enough to be left alone
    assert places(tracker) == {0: pytest.approx(252.5, abs=0.5)}


def test_newcomers_beyond_the_most_faces_are_left_out_the_smallest_first() -> None:
    tracker = shot_tracker(TrackOptions(max_faces=2))
    crowd = person(90, 60, on=person(230, 90, on=person(390, 75)))
    feed(tracker, [crowd])
    assert sorted(places(tracker).values()) == [pytest.approx(230, abs=1), pytest.approx(390, abs=1)]


def test_lost_face_is_bridged_and_found_again_near_by() -> None:
    tracker = shot_tracker()
    feed(tracker, [person(200)] * 3 + [EMPTY] * 5)
    assert tracker.state.tracks[0].observations[-1].index == 2
    feed(tracker, [person(215)] * 2, start=8)
    assert places(tracker) == {0: pytest.approx(215, abs=1)}


def test_lost_face_is_given_up_after_the_bridge() -> None:
    tracker = shot_tracker(TrackOptions(detect_every=1, bridge_s=0.2))
    feed(tracker, [person(200)] * 3 + [EMPTY] * 5)
    assert places(tracker) != {}
    feed(tracker, [EMPTY], start=8)
    assert places(tracker) == {}


def test_lost_face_is_not_looked_for_across_the_picture() -> None:
    tracker = shot_tracker()
    feed(tracker, [person(100)] * 3 + [EMPTY] * 2 + [person(380)])
    assert places(tracker).keys() == {0, 1}


def test_track_no_detector_confirms_is_given_up_after_a_while() -> None:
    detector = Scripted()
    tracker = shot_tracker(TrackOptions(detect_every=1, unconfirmed_s=0.4, bridge_s=0.1), detector)
    feed(tracker, [person(200)] * 3)
    detector.awake = False
    feed(tracker, [person(200)] * 10, start=3)
    assert places(tracker).keys() == {0}
    feed(tracker, [person(200)] * 5, start=13)
    assert places(tracker) == {}


def test_still_picture_is_confirmed_by_patches_and_searched_every_fifth_time() -> None:
    detector = Scripted()
    tracker = shot_tracker(TrackOptions(detect_every=1), detector)
    feed(tracker, [person(200)] * 11)
    assert [shape == (HEIGHT, WIDTH) for shape in detector.shown] == [i % 5 == 0 for i in range(11)]


def test_free_face_is_passed_over_between_readings() -> None:
    predictor = Counting()
    tracker = shot_tracker(TrackOptions(detect_every=30, read_every=3), predictor=predictor)
    feed(tracker, [person(150 + 2 * i) for i in range(13)])
    assert predictor.calls <= 2 + 2 * 5
    (track,) = tracker.state.tracks
    assert [o.index for o in track.observations] == list(range(13))
    xs = [transform_points(o.pose, [[0.5, 0.5]])[0, 0] for o in track.observations]
    np.testing.assert_allclose(xs, [150 + 2 * i for i in range(13)], atol=0.5)


def test_hindered_face_is_read_in_every_frame() -> None:
    predictor = Counting()
    options = TrackOptions(detect_every=30, read_every=3, quality=QualityOptions(min_face_px=100))
    tracker = shot_tracker(options, predictor=predictor)
    feed(tracker, [person(200)] * 6)
    assert tracker.state.tracks[0].state == FaceState.TOO_SMALL
    assert predictor.calls >= 6


@pytest.mark.parametrize(("spared", "state"), [(True, FaceState.COVERED), (False, FaceState.OK)])
def test_covered_mouth_is_noticed_if_asked_for(spared: bool, state: FaceState) -> None:
    tracker = shot_tracker(TrackOptions(quality=QualityOptions(covered=spared)))
    free = person(240, 120)
    covered = free.copy()
    cv2.ellipse(covered, (240, 190), (40, 26), 0, 0, 360, (30, 30, 30), -1)
    feed(tracker, [free] * 45 + [covered] * 3)
    assert [o.state for o in tracker.state.tracks[0].observations][-3:] == [state] * 3


def test_state_can_be_copied_and_gone_back_to() -> None:
    tracker = shot_tracker()
    feed(tracker, [person(200)] * 3)
    before = tracker.copy_state()
    feed(tracker, [person(200 + 5 * i) for i in range(5)], start=3)
    assert len(before.tracks[0].observations) == 3 and before.frames == 3
    tracker.state = before
    assert places(tracker) == {0: pytest.approx(200, abs=0.5)}


def test_reading_twice_changes_nothing() -> None:
    tracker = shot_tracker(TrackOptions(detect_every=1, read_every=4))
    feed(tracker, [person(200)] * 3)
    newest = frame(2, person(200))
    assert tracker.state.unread == 2
    for _ in range(2):
        tracker.read(newest, signature(newest.rgb).grey, [frame(1, person(200))])
        assert [o.index for o in tracker.state.tracks[0].observations] == [0, 1, 2]
