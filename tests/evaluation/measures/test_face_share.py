"""The share of frames with a face."""

from __future__ import annotations

from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.measures.face_share import FaceShare
from tests.helpers.measured_frames import NO_SOUNDS, context, faceless, measured_frame, noise


def test_face_share_counts_scored_frames() -> None:
    measure = FaceShare(context())
    assert measure.values(NO_SOUNDS) == {"face_share": None}
    for index in range(4):
        make = faceless if index == 2 else measured_frame
        measure.add(MatchedFrames(make(index, noise(index))))
    assert measure.values(NO_SOUNDS) == {"face_share": 0.75}
