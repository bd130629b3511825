"""Each policy chooses one track per frame and stays with it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from lipsync_cli.core.errors import NoFaceError
from lipsync_cli.core.types import FaceState, TrackedFrame
from lipsync_cli.faces.selection_policies import ByNumber, ByRank, ByReference, Rank, SelectionPolicy
from tests.helpers.faces import RATE, face, identities, tracked

ANN, BEN, CAT = 1.0, 3.0, 5.0
MISSING = FaceState.MISSING


def choices(policy: SelectionPolicy, frames: Iterable[TrackedFrame]) -> list[int | None]:
    return [policy.choose(item) for item in frames]


@pytest.mark.parametrize(("rank", "track"), [("largest", 1), ("left", 0), ("right", 2)])
def test_rank_opens_with_its_extreme(rank: Rank, track: int) -> None:
    policy = ByRank(rank, identities({}))
    faces = face(0, 100, 60), face(1, 200, 90), face(2, 300, 70)
    assert choices(policy, [tracked(0, *faces), tracked(1, *faces)]) == [track, track]
    policy.finish()


def test_rank_waits_for_the_first_face() -> None:
    policy = ByRank("largest", identities({}))
    frames = [tracked(0), tracked(1, face(0, 100, state=MISSING)), tracked(2, face(1, 100))]
    assert choices(policy, frames) == [None, None, 1]


@pytest.mark.parametrize(
    ("rank", "before", "after"),
    [("largest", (60, 60), (60, 90)), ("left", (60, 60), (60, 60)), ("right", (60, 60), (60, 60))],
)
def test_rank_does_not_flip_to_a_slightly_better_face(
    rank: Rank, before: tuple[float, float], after: tuple[float, float]
) -> None:
    policy = ByRank(rank, identities({}))
    near = {"largest": 300, "left": 90, "right": 110}[rank]
    frames = [tracked(0, face(0, 100, before[0]))]
    frames += [tracked(i, face(0, 100, after[0]), face(1, near, after[1])) for i in range(1, 60)]
    assert choices(policy, frames) == [0] * 60


def test_rank_gives_way_after_a_second_of_a_clearly_better_face() -> None:
    policy = ByRank("largest", identities({}))
    frames = [tracked(i, face(0, 100, 60), face(1, 300, 100)) for i in range(1, 40)]
    found = choices(policy, [tracked(0, face(0, 100, 60)), *frames])
    assert found == [0] * (1 + RATE) + [1] * (39 - RATE)


def test_rank_forgets_a_challenge_that_was_broken_off() -> None:
    policy = ByRank("largest", identities({}))
    large, small = face(1, 300, 100), face(1, 300, 60)
    frames = [tracked(i, face(0, 100, 60), small if i % 20 == 0 else large) for i in range(100)]
    assert choices(policy, frames) == [0] * 100


def test_rank_takes_the_person_of_a_new_track_at_once() -> None:
    policy = ByRank("largest", identities({0: ANN, 1: BEN, 2: ANN}))
    frames = [tracked(0, face(0, 100, 80), face(1, 300, 60)), tracked(1, face(1, 300, 60), face(2, 110, 80))]
    assert choices(policy, frames) == [0, 2]


def test_rank_waits_a_second_for_someone_else_when_the_chosen_one_left() -> None:
    policy = ByRank("largest", identities({0: ANN, 1: BEN}))
    frames = [tracked(0, face(0, 100, 80), face(1, 300, 60))]
    frames += [tracked(i, face(1, 300, 60)) for i in range(1, 40)]
    assert choices(policy, frames) == [0] * (1 + RATE) + [1] * (39 - RATE)


def test_largest_prefers_the_person_of_the_shot_before_unless_far_smaller() -> None:
    for width, expected in ((50, 2), (30, 1)):
        policy = ByRank("largest", identities({0: ANN, 1: BEN, 2: ANN}))
        cut = tracked(1, face(1, 100, 100), face(2, 300, width), shot=1)
        assert choices(policy, [tracked(0, face(0, 100, 80)), cut]) == [0, expected]


def test_left_takes_whoever_is_leftmost_in_a_new_shot() -> None:
    policy = ByRank("left", identities({0: ANN, 1: BEN, 2: ANN}))
    cut = tracked(1, face(1, 100), face(2, 300), shot=1)
    assert choices(policy, [tracked(0, face(0, 100)), cut]) == [0, 1]


def test_number_chooses_its_person_wherever_it_is() -> None:
    policy = ByNumber(1, identities({0: ANN, 1: BEN, 2: BEN}))
    frames = [
        tracked(0, face(0, 100)),
        tracked(1, face(0, 100), face(1, 200)),
        tracked(2),
        tracked(3, face(2, 40), face(0, 100), shot=1),
    ]
    assert choices(policy, frames) == [None, 1, None, 2]
    policy.finish()


@pytest.mark.parametrize(
    ("persons", "words"),
    [({}, "no face was seen"), ({0: ANN}, "only face 0 was seen"), ({0: ANN, 1: BEN}, "only faces 0 to 1 were seen")],
)
def test_number_nobody_has_is_an_error_at_the_end(persons: dict[int, float], words: str) -> None:
    policy = ByNumber(4, identities(persons))
    policy.choose(tracked(0, *(face(track, 100 * (track + 1)) for track in persons)))
    with pytest.raises(NoFaceError, match=f"Face 4 was asked for, but {words}"):
        policy.finish()


def test_reference_chooses_the_nearest_within_its_limit() -> None:
    policy = ByReference(np.array([BEN + 0.4]), "ben.png", identities({0: ANN, 1: BEN, 2: BEN + 0.55, 3: CAT}))
    frames = [
        tracked(0, face(0, 100), face(1, 200)),
        tracked(1, face(1, 100), face(2, 200)),
        tracked(2, face(0, 100), face(3, 200)),
        tracked(3),
    ]
    assert choices(policy, frames) == [1, 2, None, None]
    policy.finish()


def test_reference_that_nobody_comes_near_is_an_error_that_says_how_near() -> None:
    policy = ByReference(np.array([CAT]), "cat.png", identities({0: BEN}))
    policy.choose(tracked(0, face(0, 100)))
    with pytest.raises(NoFaceError, match=r"looks like cat\.png \(the nearest is 2\.00 away, 0\.60 is the limit\)"):
        policy.finish()


def test_reference_without_anybody_says_no_distance() -> None:
    policy = ByReference(np.array([CAT]), "cat.png", identities({}))
    policy.choose(tracked(0))
    with pytest.raises(NoFaceError, match=r"Nobody in the video looks like cat\.png\."):
        policy.finish()
