"""In how many frames there was a face to measure: what all other metrics of faces rest on."""

from __future__ import annotations

from collections.abc import Mapping

from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure
from lipsync_cli.evaluation.metric import Metric


class FaceShare(Measure):
    """Frames with a usable face over all scored ones."""

    metrics = (
        Metric(
            name="face_share",
            title="Faces",
            better="higher",
            digits=2,
            section="identity",
            shown="table",
            meaning="share of the scored frames with a usable face",
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self._frames = self._faces = 0

    def add(self, frames: MatchedFrames) -> None:
        """See Measure."""
        self._frames += 1
        self._faces += frames.result.face is not None

    def values(self, sounds: ClipSounds) -> Mapping[str, float | None]:
        """See Measure."""
        return {"face_share": self._faces / self._frames if self._frames else None}
