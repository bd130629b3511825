"""Who tracks are: asked for seldom, answered once, held in bounds."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.faces.face_patch import UNIT_TO_PATCH, cut_patch, pose_of_box
from lipsync_cli.faces.identity import SAME_PERSON, DlibRecogniser, FaceRecogniser, Identities
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.synthetic import draw_head
from tests.helpers.heads import head_box

LANDMARKS = np.zeros((68, 2))


class FirstPixel:
    """Embeds a patch as its first value in hundredths; counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def embed(self, patch: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        self.calls += 1
        return np.array([patch[0, 0, 0] / 100])


def patch(value: int) -> np.ndarray:
    return np.full((160, 160, 3), value, np.uint8)


@pytest.fixture
def recogniser() -> FirstPixel:
    return FirstPixel()


@pytest.fixture
def identities(recogniser: FirstPixel) -> Identities:
    return Identities(recogniser)


def test_identities_embed_when_first_asked_and_never_again(identities: Identities, recogniser: FirstPixel) -> None:
    identities.offer(3, patch(100), LANDMARKS, 0.5)
    assert 3 in identities and list(identities) == [3] and len(identities) == 1
    assert recogniser.calls == 0
    assert identities[3] == identities[3] == 1.0
    identities.offer(3, patch(200), LANDMARKS, 0.9)
    assert identities[3] == 1.0
    assert recogniser.calls == 1


def test_identities_average_the_two_samples_of_most_merit(identities: Identities, recogniser: FirstPixel) -> None:
    for value, merit in ((10, 0.1), (100, 0.9), (200, 0.5), (50, 0.4)):
        identities.offer(0, patch(value), LANDMARKS, merit)
    assert identities[0] == pytest.approx(1.5)
    assert recogniser.calls == 2


def test_identities_prefer_the_earlier_of_equal_samples(identities: Identities) -> None:
    for value in (10, 20, 30):
        identities.offer(0, patch(value), LANDMARKS, 0.5)
    assert identities[0] == pytest.approx(0.15)


def test_identities_hold_samples_of_32_tracks(identities: Identities) -> None:
    held = []
    for track in range(40):
        for merit in (0.1, 0.2, 0.3):
            sample = patch(track)
            held.append(weakref.ref(sample))
            identities.offer(track, sample, LANDMARKS, merit)
    del sample
    gc.collect()
    assert list(identities) == list(range(8, 40))
    assert sum(ref() is not None for ref in held) == 64


def test_identities_let_samples_go_once_embedded(identities: Identities) -> None:
    sample = patch(5)
    held = weakref.ref(sample)
    identities.offer(0, sample, LANDMARKS, 1.0)
    del sample
    assert held() is not None
    assert identities[0] == 0.05
    gc.collect()
    assert held() is None


def test_identities_of_a_track_nobody_saw(identities: Identities) -> None:
    assert 9 not in identities
    assert identities.distance(9, np.zeros(1)) == float("inf")
    assert identities.person(9) is None
    with pytest.raises(KeyError):
        identities[9]


def test_identities_number_persons_as_they_are_asked_for(identities: Identities) -> None:
    for track, value in enumerate((100, 200, 130, 190)):
        identities.offer(track, patch(value), LANDMARKS, 1.0)
    assert [identities.person(track) for track in (1, 0, 2, 3, 1)] == [0, 1, 1, 0, 0]


def test_identities_tell_apart_from_a_distance_of_0_55_on(identities: Identities) -> None:
    assert SAME_PERSON == 0.55
    for track, value in enumerate((100, 154, 156)):
        identities.offer(track, patch(value), LANDMARKS, 1.0)
    assert identities.person(0) == identities.person(1) == 0
    assert identities.person(2) == 1
    assert identities.distance(2, np.array([1.0])) == pytest.approx(0.56)


def test_identities_forget_a_track(identities: Identities) -> None:
    identities.offer(0, patch(100), LANDMARKS, 1.0)
    assert identities.person(0) == 0
    identities.forget(0)
    assert 0 not in identities and identities.person(0) is None
    identities.offer(0, patch(200), LANDMARKS, 1.0)
    assert identities[0] == 2.0


def test_dlib_recogniser_embeds_one_person_near_and_deterministically() -> None:
    recogniser, points = DlibRecogniser(), transform_points(UNIT_TO_PATCH, MEAN_FACE[:, :2])
    assert isinstance(recogniser, FaceRecogniser)
    patches = [cut_patch(draw_head(openness=o), np.eye(2, 3), pose_of_box(head_box())).rgb for o in (0.0, 0.1)]
    closed, opened, again = (recogniser.embed(p, points) for p in (*patches, patches[0]))
    assert closed.shape == (128,) and closed.dtype == np.float64
    np.testing.assert_array_equal(closed, again)
    assert np.linalg.norm(closed - opened) < SAME_PERSON
