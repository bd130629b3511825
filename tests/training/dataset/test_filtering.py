"""Which clips are selected for training, and why the rest is not."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.training.dataset.filtering import DUPLICATE, ENOUGH, NO_ROOM, select_clips
from lipsync_cli.training.dataset.limits import Limits
from lipsync_cli.training.dataset.speakers import cluster_faces
from tests.helpers.segmented_sources import make_source


def chosen(pairs, **options):
    values = {"crop_size": 192, "seconds_per_speaker": 100.0} | options
    return select_clips(pairs, Limits(), **values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"face_px": 40.0}, "face too small"),
        ({"yaw": 0.5}, "head turned"),
        ({"pitch": 0.5}, "head turned"),
        ({"blur": 2.0}, "blurred"),
        ({"jump": 0.9}, "damaged"),
        ({"frozen": 0.5}, "damaged"),
        ({"segmented": {"damaged": True}}, "damaged"),
        ({"level_db": -80.0}, "silent"),
        ({"frames": 10}, "too short"),
    ],
)
def test_select_clips_counts_the_reason_of_every_filter(change: dict, reason: str) -> None:
    choice = chosen([make_source("good"), make_source("bad", **change)])
    assert [record.path for record in choice.chosen] == ["clips/x/good.mp4"]
    assert choice.rejected == {reason: 1}


def test_select_clips_of_copies_takes_the_held_out_or_the_largest() -> None:
    twin = {"picture": "ab" * 24, "sound": "cd" * 58}
    pairs = [make_source("small", face_px=90.0, **twin), make_source("large", face_px=300.0, **twin)]
    choice = chosen(pairs)
    assert [r.path for r in choice.chosen] == ["clips/x/large.mp4"] and choice.rejected == {DUPLICATE: 1}
    held = make_source("held", speaker="t", split="test", face_px=80.0, **twin)
    assert [r.path for r in chosen([*pairs, held]).chosen] == ["clips/x/held.mp4"]
    other_words = make_source("words", picture=twin["picture"])
    assert len(chosen([pairs[0], other_words]).chosen) == 2, "the same face saying something else is no copy"


def test_select_clips_caps_the_seconds_of_a_speaker() -> None:
    pairs = [make_source(f"{n}") for n in range(6)] + [make_source("b", speaker="b")]
    choice = chosen(pairs, seconds_per_speaker=7.0)
    assert sorted(r.speaker for r in choice.chosen) == ["a", "a", "a", "b"]
    assert choice.rejected == {ENOUGH: 3} and choice.chosen == chosen(pairs[::-1], seconds_per_speaker=7.0).chosen


def test_select_clips_shares_a_size_among_speakers() -> None:
    pairs = [make_source(f"a{n}") for n in range(30)]
    pairs += [make_source(f"{who}{n}", speaker=who) for who in "bc" for n in range(4)]
    pairs += [make_source(f"v{n}", speaker="v", split="val") for n in range(9)]
    choice = chosen(pairs, max_bytes=1_250_000)
    assert sum(record.bytes for record in choice.chosen) <= 1_250_000
    counts = {who: sum(r.speaker == who for r in choice.chosen) for who in "abcv"}
    assert counts == {"a": 4, "b": 4, "c": 3, "v": 1}, "held-out speakers get a tenth"
    assert choice.rejected[NO_ROOM] == len(pairs) - 12


def test_select_clips_makes_speakers_of_faces_and_splits_of_speakers() -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(0, 0.12, (3, 128))
    faces = {f"{p}-{n}": (people[p] + rng.normal(0, 0.015, 128)).tolist() for p in range(3) for n in range(4)}
    speakers = cluster_faces(faces)
    groups = {p: {speakers[path] for path in faces if path.startswith(str(p))} for p in range(3)}
    assert all(len(names) == 1 for names in groups.values()) and len(set.union(*groups.values())) == 3
    pairs = [make_source(path, speaker=None, split=None, segmented={"face": face}) for path, face in faces.items()]
    assert len({r.speaker for r in chosen(pairs).chosen}) == 3
    unseen = make_source("nobody", speaker=None, split=None)
    assert chosen([unseen]).rejected == {"speaker unknown": 1}
