"""CSIM: whether a dubbed face is still the same person, by dlib's face embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import Float64
from lipsync_cli.evaluation.clip_reader import MeasuredFrame
from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure, mean_or_none
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import SOURCE
from lipsync_cli.faces.face_patch import cut_patch, pose_of_landmarks
from lipsync_cli.faces.identity import DlibRecogniser, FaceRecogniser

EMBED_EVERY = 10


def cosine_similarity(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Cosine of two embeddings ``[d]``, in [−1, 1]. Raises ValueError for a zero vector."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    if length < 1e-12:
        raise ValueError("an embedding of length zero has no direction")
    return float(first @ second) / length


class FaceIdentity(Measure):
    """Mean cosine of the embeddings of result and source, over every tenth frame that shows both faces."""

    metrics = (
        Metric(
            name="csim",
            title="CSIM",
            better="higher",
            section="identity",
            needs=(SOURCE,),
            meaning="cosine of dlib's face embeddings to the source's",
        ),
    )

    def __init__(self, clip: ClipContext, recogniser: FaceRecogniser | None = None) -> None:
        super().__init__(clip)
        self._recogniser = recogniser or DlibRecogniser()
        self._similarities: list[float] = []
        self._count = 0

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        result, source = frames.result, frames.source
        if source is None or result.face is None or source.face is None:
            return
        if self._count % EMBED_EVERY == 0:
            self._similarities.append(cosine_similarity(self._embed(result), self._embed(source)))
        self._count += 1

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        return {"csim": mean_or_none(self._similarities)}

    def _embed(self, frame: MeasuredFrame) -> Float64:
        assert frame.face is not None
        patch = cut_patch(frame.rgb, self.clip.to_display, pose_of_landmarks(frame.face.landmarks))
        return self._recogniser.embed(patch.rgb, transform_points(patch.matrix, frame.face.landmarks))
