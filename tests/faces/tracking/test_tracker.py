"""The tracker's promises, on drawn faces: no weights are needed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import FaceState, Frame, TrackedFrame
from lipsync_cli.faces.detectors.protocol import FaceReader
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.faces.options import TrackOptions
from lipsync_cli.faces.tracking.tracker import Tracker
from tests.helpers.disc_faces import (
    DiscDetector,
    DiscPredictor,
    SkinRecogniser,
    disc_reader,
    frame,
    paint_face,
    pose,
    scene,
    video_info,
)

WIDTH, HEIGHT = 480, 270


def tracker(options: TrackOptions | None = None, **more: object) -> Tracker:
    return Tracker(
        video_info(WIDTH, HEIGHT),
        FaceReader(more.pop("detector", None) or DiscDetector(), DiscPredictor()),
        options,
        recogniser=SkinRecogniser(),
    )


def pictures(
    count: int,
    start: int = 0,
    *,
    x: float = 200,
    speed: float = 0.0,
    width: float = 90,
    seed: int = 0,
    skin: int = 170,
) -> list[np.ndarray]:
    background = scene(WIDTH, HEIGHT, seed, (40 + 8 * seed, 70, 90 - 9 * seed))
    return [paint_face(background, pose(x + speed * i, 130, width), skin) for i in range(start, start + count)]


def nobody(count: int) -> list[np.ndarray]:
    return [scene(WIDTH, HEIGHT, 0, (40, 70, 90))] * count


def run(shown: list[np.ndarray], options: TrackOptions | None = None, **more: object) -> list[TrackedFrame]:
    return list(tracker(options, **more).run(frame(i, picture) for i, picture in enumerate(shown)))


def ids(tracked: list[TrackedFrame]) -> list[list[int]]:
    return [[face.track_id for face in item.faces] for item in tracked]


def states(tracked: list[TrackedFrame], track_id: int = 0) -> list[FaceState | None]:
    return [next((f.state for f in item.faces if f.track_id == track_id), None) for item in tracked]


class CountingPredictor(DiscPredictor):
    """Counts how often a face is read."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0

    def predict(self, patch):
        self.readings += 1
        return super().predict(patch)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("count", [29, 30, 31])
def test_tracker_that_reads_now_and_then_has_the_face_in_every_frame(every: int, count: int) -> None:
    predictor = CountingPredictor()
    options = TrackOptions(lookahead_frames=3, read_every=every)
    shown = pictures(count, x=120, speed=4.0)
    reading = Tracker(video_info(WIDTH, HEIGHT), FaceReader(DiscDetector(), predictor), options)
    tracked = list(reading.run(frame(i, picture) for i, picture in enumerate(shown)))
    assert ids(tracked) == [[0]] * count and states(tracked) == [FaceState.OK] * count
    for i, item in enumerate(tracked[3:-3], 3):
        truth = transform_points(pose(120 + 4.0 * i, 130, 90), MEAN_FACE[:, :2])
        assert np.abs(item.faces[0].landmarks - truth).max() < 0.6
    if every > 1:
        assert predictor.readings < 2.2 * count / every + 6


def test_tracker_that_reads_seldom_ends_a_shot_with_its_face() -> None:
    other = [paint_face(scene(WIDTH, HEIGHT, 5, (90, 40, 20)), pose(330, 140, 90), 120)] * 14
    for first in (13, 14):
        tracked = run(pictures(first) + other, TrackOptions(read_every=2))
        assert [item.shot for item in tracked] == [0] * first + [1] * 14
        assert all([face.state for face in item.faces] == [FaceState.OK] for item in tracked)


def test_tracker_that_reads_seldom_does_not_carry_a_lost_face_on() -> None:
    plain, seldom = (states(run(pictures(20) + nobody(20), TrackOptions(read_every=n))) for n in (1, 2))
    assert seldom[:20] == plain[:20] and FaceState.OK not in seldom[20:]


@pytest.mark.parametrize("lookahead", [0, 1, 3, 6])
def test_tracker_yields_every_frame_once_in_order(lookahead: int) -> None:
    tracked = run(pictures(20), TrackOptions(lookahead_frames=lookahead))
    assert [item.frame.index for item in tracked] == list(range(20))


def test_tracker_takes_fewer_frames_than_the_lookahead() -> None:
    assert len(run(pictures(2))) == 2
    assert run([]) == []


def test_tracker_follows_a_moving_face_where_it_is() -> None:
    tracked = run(pictures(40, x=120, speed=4.0))
    assert ids(tracked) == [[0]] * 40
    for i, item in enumerate(tracked):
        truth = transform_points(pose(120 + 4.0 * i, 130, 90), MEAN_FACE[:, :2])
        error = np.abs(item.faces[0].landmarks - truth).max()
        assert error < (0.6 if 3 <= i < 37 else 2.5)
        assert item.faces[0].state == FaceState.OK


def test_tracker_follows_a_tilted_face() -> None:
    background = scene(WIDTH, HEIGHT)
    tracked = run([paint_face(background, pose(220, 130, 90, degrees=1.5 * i)) for i in range(30)])
    truth = transform_points(pose(220, 130, 90, degrees=30), MEAN_FACE[:, :2])
    assert np.abs(tracked[20].faces[0].landmarks - truth).max() < 1.0


def test_tracker_follows_landmarks_between_detections() -> None:
    detector = DiscDetector()
    run(pictures(40, speed=2.0), TrackOptions(detect_every=5), detector=detector)
    assert 8 <= detector.calls <= 10


def test_tracker_holds_at_most_the_lookahead_and_one_frame() -> None:
    made: list[weakref.ref[np.ndarray]] = []
    most = 0

    def source() -> Iterator[Frame]:
        nonlocal most
        for i in range(30):
            item = frame(i, pictures(1, i, speed=1.0)[0])
            made.append(weakref.ref(item.rgb))
            most = max(most, sum(ref() is not None for ref in made))
            yield item
            del item

    options = TrackOptions(lookahead_frames=3)
    for item in tracker(options).run(source()):
        del item
    assert most <= options.lookahead_frames + 1 + 1  # the one that the source is just making


def test_tracker_is_causal_beyond_the_lookahead() -> None:
    """What is handed on for frame i depends on nothing after i + lookahead."""
    whole, part = run(pictures(30, speed=3.0)), run(pictures(20, speed=3.0))
    for a, b in zip(whole[:17], part[:17], strict=True):
        np.testing.assert_array_equal(a.faces[0].landmarks, b.faces[0].landmarks)
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(whole[19].faces[0].landmarks, part[19].faces[0].landmarks)


def test_tracker_gives_the_same_for_the_same_frames() -> None:
    first, second = run(pictures(15, speed=3.0)), run(pictures(15, speed=3.0))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.faces[0].landmarks, b.faces[0].landmarks)


def test_tracker_ends_tracks_at_a_cut() -> None:
    tracked = run(pictures(12) + pictures(12, seed=5, x=300))
    assert [item.shot for item in tracked] == [0] * 12 + [1] * 12
    assert ids(tracked) == [[0]] * 12 + [[1]] * 12


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("level", [250, 0])
def test_tracker_takes_no_flash_for_a_cut(length: int, level: int) -> None:
    flash = [np.full((HEIGHT, WIDTH, 3), level, np.uint8)] * length
    tracked = run(pictures(12) + flash + pictures(12))
    assert {item.shot for item in tracked} == {0}
    found = states(tracked)
    assert found[:12] == [FaceState.OK] * 12
    assert found[12 : 12 + length] == [FaceState.MISSING] * length
    assert found[12 + length :] == [FaceState.OK] * 12


def test_tracker_takes_a_long_blank_for_a_shot() -> None:
    tracked = run(pictures(12) + [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 8 + pictures(8))
    assert [item.shot for item in tracked] == [0] * 12 + [1] * 8 + [2] * 8


def test_tracker_takes_no_fade_for_a_cut() -> None:
    faded = [(p * (1 - i / 15)).astype(np.uint8) for i, p in enumerate(pictures(15))]
    assert {item.shot for item in run(pictures(8) + faded)} == {0}


def test_tracker_shows_a_lost_face_as_missing_and_then_no_more() -> None:
    found = states(run(pictures(12, width=60) + nobody(20), TrackOptions(bridge_s=0.4)))
    assert found == [FaceState.OK] * 12 + [FaceState.MISSING] * 10 + [None] * 10


def test_tracker_keeps_a_track_over_a_short_loss() -> None:
    tracked = run(pictures(12, width=60) + nobody(6) + pictures(12, x=215, width=60))
    assert ids(tracked) == [[0]] * 30
    assert states(tracked) == [FaceState.OK] * 12 + [FaceState.MISSING] * 6 + [FaceState.OK] * 12


def test_tracker_starts_a_track_for_someone_else_in_the_same_place() -> None:
    other = [paint_face(nobody(1)[0], pose(200, 130, 60), skin=90, hood=True)] * 12
    tracked = run(pictures(12, width=60) + nobody(6) + other)
    assert {item.shot for item in tracked} == {0}
    assert ids(tracked)[-1] == [1]


def test_tracker_traces_a_newcomer_back() -> None:
    """Detection every 5 frames; the face comes in on frame 7 beside another one."""
    both = [paint_face(p, pose(380, 130, 90), 120) for p in pictures(20)]
    tracked = run(pictures(7) + both[7:])
    assert [len(faces) for faces in ids(tracked)] == [1] * 7 + [2] * 13


def test_tracker_keeps_two_faces_apart_when_they_pass_close() -> None:
    background = scene(WIDTH, HEIGHT)
    shown = []
    for i in range(40):
        left = paint_face(background, pose(80 + 2 * i, 90, 70), 170)
        shown.append(paint_face(left, pose(400 - 2 * i, 190, 70), 120))
    tracked = run(shown)
    first = {face.track_id: face.box[0] for face in tracked[0].faces}
    last = {face.track_id: face.box[0] for face in tracked[-1].faces}
    assert first.keys() == last.keys() == {0, 1}
    left = min(first, key=first.__getitem__)
    assert last[left] > first[left]


def test_tracker_knows_the_same_person_again_after_a_cut() -> None:
    run_by = tracker()
    shown = pictures(8, skin=170) + pictures(8, seed=5, x=320, skin=90) + pictures(8, seed=9, x=120, skin=170)
    tracked = list(run_by.run(frame(i, picture) for i, picture in enumerate(shown)))
    assert [faces[0] for faces in ids(tracked)] == [0] * 8 + [1] * 8 + [2] * 8
    assert [run_by.identities.person(i) for i in range(3)] == [0, 1, 0]


def test_tracker_embeds_nobody_unless_asked() -> None:
    recogniser = SkinRecogniser()
    run_by = Tracker(video_info(WIDTH, HEIGHT), disc_reader(), recogniser=recogniser)
    list(run_by.run(frame(i, picture) for i, picture in enumerate(pictures(8))))
    assert recogniser.calls == 0
    assert run_by.identities[0] == pytest.approx(170 / 40, abs=0.1)


def test_tracker_says_that_a_face_is_small_or_cut_off() -> None:
    background = scene(WIDTH, HEIGHT)
    small = run([paint_face(background, pose(200, 130, 40))] * 8)
    assert states(small) == [FaceState.TOO_SMALL] * 8
    below = run([paint_face(background, pose(200, HEIGHT - 28, 90))] * 8)
    assert states(below) == [FaceState.CUT_OFF] * 8
