"""Speakers of unlabelled clips by their faces, and speaker-disjoint splits that stay when clips are added."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from lipsync_cli.faces.identity import SAME_PERSON

VAL_SHARE, TEST_SHARE = 0.08, 0.10


def cluster_faces(faces: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """A speaker for each clip, by path, from face embeddings: average linkage, cut at the distance of one person.

    Speakers are named after their first clip, so that a name stays when clips are added.
    """
    paths = sorted(faces)
    if len(paths) < 2:
        return {path: _named(path) for path in paths}
    tree = linkage(np.array([faces[path] for path in paths]), method="average")
    numbers = fcluster(tree, SAME_PERSON, criterion="distance").tolist()
    first: dict[int, str] = {}
    for path, number in zip(paths, numbers, strict=True):
        first.setdefault(number, path)
    return {path: _named(first[number]) for path, number in zip(paths, numbers, strict=True)}


def _named(path: str) -> str:
    return "face-" + hashlib.sha256(path.encode()).hexdigest()[:8]


def split_speakers(speakers: Iterable[str]) -> dict[str, str]:
    """train, val or test for each speaker, from a hash of the name alone.

    Fewer than four speakers are all train; more always give some of each: the hashes' first is then val, the next
    test, the last train.
    """
    ranked = sorted(set(speakers), key=_place)
    if len(ranked) < 4:
        return dict.fromkeys(ranked, "train")
    splits = {speaker: _split(_place(speaker)) for speaker in ranked}
    if "val" not in splits.values():
        splits[ranked[0]] = "val"
    if "test" not in splits.values():
        splits[ranked[1]] = "test"
    splits[ranked[-1]] = "train"
    return splits


def _place(speaker: str) -> float:
    """A number in [0, 1) from a hash of the name, uniform over names."""
    return int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:6]) / 2**48


def _split(place: float) -> str:
    if place < VAL_SHARE:
        return "val"
    return "test" if place < VAL_SHARE + TEST_SHARE else "train"
