"""Speaker-disjoint splits."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.training.dataset.speakers import cluster_faces, split_speakers


def test_split_speakers_is_by_name_alone() -> None:
    names = [f"speaker {n}" for n in range(300)]
    splits = split_speakers(names)
    shares = [list(splits.values()).count(split) / 300 for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.82, 0.08, 0.10], abs=0.05)
    more = split_speakers([*names, *(f"later {n}" for n in range(50))])
    assert all(more[name] == splits[name] for name in names)
    assert set(split_speakers("abcd").values()) == {"train", "val", "test"}
    assert set(split_speakers("abc").values()) == {"train"}, "too few to hold anybody out"


def test_cluster_faces_gives_one_name_to_one_person_that_stays_when_clips_are_added() -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(0, 0.12, (3, 128))
    faces = {f"{p}-{n}": (people[p] + rng.normal(0, 0.015, 128)).tolist() for p in range(3) for n in range(4)}
    speakers = cluster_faces(faces)
    groups = [{speakers[path] for path in faces if path.startswith(str(p))} for p in range(3)]
    assert all(len(names) == 1 for names in groups) and len(set.union(*groups)) == 3
    fewer = cluster_faces({path: face for path, face in faces.items() if not path.endswith("3")})
    assert all(speakers[path] == name for path, name in fewer.items())
    assert cluster_faces({}) == {} and len(cluster_faces({"0-0": faces["0-0"]})) == 1
