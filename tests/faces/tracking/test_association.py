"""Which detection is whose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipsync_cli.faces.detection import Detection
from lipsync_cli.faces.tracking.association import match_detections, one_track_per_face, same_person, within_reach
from lipsync_cli.faces.tracking.track import Track
from tests.faces.tracking.test_track import appearance, fit_at
from tests.helpers.disc_faces import pose
from tests.helpers.faces import identities


def box(x: float, width: float = 100.0) -> tuple[float, float, float, float]:
    return (x, 0.0, x + width, width)


def track(track_id: int, x: float = 100.0, seed: int = 0) -> Track:
    return Track(track_id, 0, appearance(seed), pose(x, 130, 90), 0.0, 0.0, 1.0)


def test_match_pairs_by_overlap_the_best_first() -> None:
    near, nearer, far = (Detection(box(x), 1.0) for x in (20.0, 5.0, 400.0))
    assert match_detections([near, nearer, far], {7: box(0.0), 8: box(410.0)}) == {7: nearer, 8: far}


def test_match_uses_every_detection_and_track_once() -> None:
    first, second = Detection(box(0.0), 1.0), Detection(box(30.0), 1.0)
    assert match_detections([first, second], {1: box(2.0), 2: box(6.0)}) == {1: first, 2: second}
    assert match_detections([first], {1: box(2.0), 2: box(1.0)}) == {2: first}


def test_match_needs_an_overlap_of_three_tenths() -> None:
    assert match_detections([Detection(box(60.0), 1.0)], {1: box(0.0)}) == {}
    assert match_detections([Detection(box(50.0), 1.0)], {1: box(0.0)}) != {}
    assert match_detections([], {1: box(0.0)}) == {}


def test_one_track_per_face_keeps_the_older_of_two_on_one() -> None:
    tracks = [track(0), track(1), track(2)]
    fits = {0: fit_at(100), 1: fit_at(108), 2: fit_at(300)}
    assert one_track_per_face(tracks, fits) == [tracks[0], tracks[2]]
    assert one_track_per_face(tracks, {1: fit_at(108), 2: fit_at(300)}) == tracks[1:]


@pytest.mark.parametrize(("moved", "time", "within"), [(80, 0.0, True), (100, 0.0, False), (100, 0.2, True)])
def test_reach_grows_with_the_time_a_face_was_lost(moved: float, time: float, within: bool) -> None:
    assert within_reach(track(0, 100), fit_at(100 + moved), time) is within


@pytest.mark.parametrize(("width", "within"), [(50, False), (60, True), (150, True), (160, False)])
def test_reach_ends_where_the_size_differs(width: float, within: bool) -> None:
    assert within_reach(track(0), replace(fit_at(100), pose=pose(100, 130, width)), 0.04) is within


def looking_like(own: np.ndarray, similarity: float) -> np.ndarray:
    """An appearance that correlates so much with ``own``."""
    other = appearance(9)
    other = other - (other * own).sum() * own
    other /= np.linalg.norm(other)
    return (similarity * own + np.sqrt(1 - similarity**2) * other).astype(np.float32)


@pytest.mark.parametrize(
    ("similarity", "in_place", "elsewhere"), [(0.8, True, True), (0.6, True, False), (0.4, False, False)]
)
def test_same_person_by_appearance_needs_more_of_it_elsewhere(
    similarity: float, in_place: bool, elsewhere: bool
) -> None:
    unknown, fit = identities({}), replace(fit_at(100), appearance=looking_like(appearance(0), similarity))
    assert same_person(track(0), fit, unknown, in_place=True) is in_place
    assert same_person(track(0), fit, unknown, in_place=False) is elsewhere


@pytest.mark.parametrize(
    ("apart", "in_place", "elsewhere"), [(0.5, True, True), (0.6, True, False), (0.7, False, False)]
)
def test_same_person_by_embedding_where_appearance_differs(apart: float, in_place: bool, elsewhere: bool) -> None:
    fit = replace(fit_at(100), appearance=looking_like(appearance(0), 0.1))
    fit.patch.rgb[...] = 100  # a person of 5.0
    known = identities({0: 5.0 - apart})
    assert same_person(track(0), fit, known, in_place=True) is in_place
    assert same_person(track(0), fit, known, in_place=False) is elsewhere
