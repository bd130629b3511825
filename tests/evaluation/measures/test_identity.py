"""CSIM: the cosine of embeddings, and which frames it is taken of."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.measures.identity import EMBED_EVERY, FaceIdentity, cosine_similarity
from tests.helpers.measured_frames import NO_SOUNDS, context, faceless, measured_frame, noise


class FirstPixels:
    """An embedding that can be worked out by hand."""

    def __init__(self) -> None:
        self.count = 0

    def embed(self, patch: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        self.count += 1
        return patch[80, 78:82].reshape(-1).astype(np.float64) + 1


def test_cosine_similarity_of_vectors() -> None:
    assert cosine_similarity([1, 0], [1, 1]) == pytest.approx(2**-0.5)
    assert cosine_similarity([1, 2], [-1, -2]) == pytest.approx(-1)
    with pytest.raises(ValueError, match="zero"):
        cosine_similarity([0, 0], [1, 1])


def test_csim_of_a_clip_with_itself_is_one() -> None:
    recogniser = FirstPixels()
    measure = FaceIdentity(context(), recogniser)
    for index in range(2 * EMBED_EVERY + 1):
        frame = measured_frame(index, noise(index))
        measure.add(MatchedFrames(frame, frame))
        measure.add(MatchedFrames(frame, faceless(index, noise(index))))
    assert measure.values(NO_SOUNDS) == {"csim": pytest.approx(1)}
    assert recogniser.count == 2 * 3


def test_csim_of_another_face_is_lower() -> None:
    measure = FaceIdentity(context(), FirstPixels())
    measure.add(MatchedFrames(measured_frame(0, noise(0)), measured_frame(0, noise(1))))
    value = measure.values(NO_SOUNDS)["csim"]
    assert value is not None and value < 0.99
