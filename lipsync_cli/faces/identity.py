"""Who a track is: one embedding per track, computed on demand, and persons that span shots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lipsync_cli.core.types import Float64, UInt8
from lipsync_cli.faces.dlib_models import model_file

SAME_PERSON = 0.55
"""Embeddings nearer than this are of one person."""
_SAMPLES_PER_TRACK = 2
_TRACKS_WITH_SAMPLES = 32


@runtime_checkable
class FaceRecogniser(Protocol):
    """Turns a face into numbers that are close for the same person."""

    def embed(self, patch: UInt8, landmarks: Float64) -> Float64:
        """Embedding ``[d]`` of a uint8 RGB face patch ``[s s 3]`` with its 68 landmarks in patch pixels.

        Embeddings of one person are less than about 0.55 apart, those of two more.
        """
        ...


class DlibRecogniser:
    """dlib's ResNet: 128 numbers per face, in 40 ms or so.

    Weights load at the first face; ModelError when they are missing.
    """

    def embed(self, patch: UInt8, landmarks: Float64) -> Float64:
        """See FaceRecogniser."""
        import dlib

        parts = [dlib.point(round(x), round(y)) for x, y in landmarks.tolist()]
        low, high = landmarks.min(0), landmarks.max(0)
        box = dlib.rectangle(*(round(v) for v in (*low.tolist(), *high.tolist())))
        found = dlib.full_object_detection(box, parts)
        chip = dlib.get_face_chip(np.ascontiguousarray(patch), found, 150, 0.25)
        return np.array(_resnet().compute_face_descriptor(chip), np.float64)


@cache
def _resnet() -> Any:
    import dlib

    return dlib.face_recognition_model_v1(model_file("dlib_face_recognition_resnet_model_v1.dat"))


@dataclass(frozen=True, slots=True)
class _FaceSample:
    """A face patch, its 68 landmarks in patch pixels, and how well it should tell who that is."""

    patch: UInt8
    landmarks: Float64
    merit: float


class Identities(Mapping[int, Float64]):
    """Embedding ``[d]`` of each track id, computed when first asked for and then held.

    Holds two samples each for the last 32 tracks, one embedding per track that was asked for, one per person. Older
    tracks that nobody asked for are no longer in it.
    """

    def __init__(self, recogniser: FaceRecogniser | None = None) -> None:
        self._recogniser = recogniser or DlibRecogniser()
        self._samples: dict[int, list[_FaceSample]] = {}
        self._embeddings: dict[int, Float64] = {}
        self._person_of: dict[int, int] = {}
        self._persons: list[Float64] = []

    def offer(self, track_id: int, patch: UInt8, landmarks: Float64, merit: float) -> None:
        """Hold a face (patch and landmarks in it) of a track if it has more ``merit`` than an earlier one."""
        if track_id in self._embeddings:
            return
        best = self._samples.setdefault(track_id, [])
        if len(best) == _SAMPLES_PER_TRACK and merit <= best[-1].merit:
            return
        best.append(_FaceSample(patch, landmarks, merit))
        best.sort(key=lambda sample: -sample.merit)
        del best[_SAMPLES_PER_TRACK:]
        while len(self._samples) > _TRACKS_WITH_SAMPLES:
            del self._samples[next(iter(self._samples))]

    def forget(self, track_id: int) -> None:
        """Drop a track that turned out not to be one."""
        self._samples.pop(track_id, None)
        self._embeddings.pop(track_id, None)
        self._person_of.pop(track_id, None)

    def __getitem__(self, track_id: int) -> Float64:
        if track_id not in self._embeddings:
            samples = self._samples.pop(track_id)
            embeddings = [self._recogniser.embed(sample.patch, sample.landmarks) for sample in samples]
            self._embeddings[track_id] = np.mean(embeddings, axis=0)
        return self._embeddings[track_id]

    def __contains__(self, track_id: object) -> bool:
        """Whether a track has an embedding or samples for one; computes nothing."""
        return track_id in self._embeddings or track_id in self._samples

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._embeddings.keys() | self._samples.keys()))

    def __len__(self) -> int:
        return len(self._embeddings.keys() | self._samples.keys())

    def distance(self, track_id: int, embedding: Float64) -> float:
        """How far a track is from an ``embedding``; infinite for a track that is not in here (any more)."""
        return float(np.linalg.norm(self[track_id] - embedding)) if track_id in self else float("inf")

    def embed(self, patch: UInt8, landmarks: Float64) -> Float64:
        """Embedding of a face that belongs to no track."""
        return self._recogniser.embed(patch, landmarks)

    def person(self, track_id: int) -> int | None:
        """Number of the person a track shows: equal for tracks whose embeddings are less than 0.55 apart.

        Persons count from 0 in the order they are asked for. None while a track has given no sample.
        """
        if track_id not in self._person_of:
            if track_id not in self:
                return None
            self._person_of[track_id] = self._recognise(self[track_id])
        return self._person_of[track_id]

    def _recognise(self, embedding: Float64) -> int:
        apart = [float(np.linalg.norm(embedding - person)) for person in self._persons]
        if apart and min(apart) < SAME_PERSON:
            return int(np.argmin(apart))
        self._persons.append(embedding)
        return len(self._persons) - 1
