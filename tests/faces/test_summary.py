"""What ``lipsync inspect`` shows of shots and faces."""

from __future__ import annotations

import pytest

from lipsync_cli.core.types import FaceState
from lipsync_cli.faces.summary import ShotSummary, summarise
from lipsync_cli.faces.tracking.tracker import Tracker
from tests.helpers.disc_faces import (
    SkinRecogniser,
    disc_reader,
    frame,
    paint_face,
    pose,
    scene,
    video_info,
)


@pytest.fixture(scope="module")
def shots() -> list[ShotSummary]:
    first = scene(480, 270, 0, (40, 70, 90))
    with_face = paint_face(first, pose(200, 130, 60))
    second = paint_face(scene(480, 270, 5, (90, 70, 30)), pose(320, 130, 90))
    pictures = [with_face] * 10 + [first] * 15 + [second] * 8
    tracker = Tracker(video_info(480, 270), disc_reader(), recogniser=SkinRecogniser())
    return list(summarise(tracker.run(frame(i, picture) for i, picture in enumerate(pictures)), tracker))


def test_summary_counts_shots_and_their_frames(shots: list[ShotSummary]) -> None:
    assert [(shot.shot, shot.frames, shot.without_face) for shot in shots] == [(0, 25, 15), (1, 8, 0)]
    assert [(shot.first, shot.last) for shot in shots] == [(0.0, pytest.approx(0.96)), (1.0, pytest.approx(1.28))]


def test_summary_tells_when_a_track_could_be_dubbed(shots: list[ShotSummary]) -> None:
    track = shots[0].tracks[0]
    assert [(span.state, span.frames) for span in track.spans] == [(FaceState.OK, 10), (FaceState.MISSING, 10)]
    assert track.share(FaceState.OK) == 0.5
    assert track.width_px == pytest.approx(60, abs=1)
    assert track.frames == 20
    assert track.first == 0.0
    assert track.thumbnail.shape == (160, 160, 3)
    assert track.embedding is not None


def test_summary_knows_the_same_person_in_two_shots(shots: list[ShotSummary]) -> None:
    assert shots[0].tracks[0].person == shots[1].tracks[0].person == 0
