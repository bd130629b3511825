"""Which detection is whose, and whether a fit shows the person of a track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lipsync_cli.core.types import Box
from lipsync_cli.faces.detection import Detection, iou
from lipsync_cli.faces.identity import SAME_PERSON, Identities
from lipsync_cli.faces.tracking.landmark_fit import LandmarkFit, box_of_pose, correlation
from lipsync_cli.faces.tracking.track import Track

MATCH_IOU = 0.3
"""Overlap at which a detection can be a track's face."""
ONE_FACE_IOU = 0.55
"""Overlap beyond which two fits are of one face."""
# Similarity at which no embedding is asked: where the face was a frame ago, or elsewhere or later. Appearances of two
# people correlate by 0.44 in the median, by 0.77 in one pair of a hundred.
_SIMILAR_IN_PLACE, _SIMILAR_ELSEWHERE = 0.5, 0.75
# A face that is found where one was just lost may be turned or blurred, so the embedding is allowed a little more.
_SAME_PERSON_IN_PLACE = 0.65
# How far, in box widths (and two more for each second), and by which factor in size a lost face may have gone.
_REACH, _REACH_PER_S = 1.0, 2.0
_LEAST_GROWTH, _MOST_GROWTH = 0.6, 1.7


def match_detections(detections: Sequence[Detection], expected: Mapping[int, Box]) -> dict[int, Detection]:
    """Pairs of track id and detection, best overlap with the ``expected`` boxes first, each used once."""
    overlaps = [
        (iou(box, detection.box), track_id, index)
        for track_id, box in expected.items()
        for index, detection in enumerate(detections)
    ]
    pairs: dict[int, int] = {}
    for overlap, track_id, index in sorted(overlaps, key=lambda o: (-o[0], o[1], o[2])):
        if overlap >= MATCH_IOU and track_id not in pairs and index not in pairs.values():
            pairs[track_id] = index
    return {track_id: detections[index] for track_id, index in pairs.items()}


def one_track_per_face(tracks: Sequence[Track], fits: Mapping[int, LandmarkFit]) -> list[Track]:
    """The tracks that have a fit, without those that slid onto the face of one before them."""
    separate: list[Track] = []
    for track in tracks:
        fit = fits.get(track.track_id)
        if fit and all(iou(fit.box, fits[other.track_id].box) <= ONE_FACE_IOU for other in separate):
            separate.append(track)
    return separate


def within_reach(track: Track, fit: LandmarkFit, time: float) -> bool:
    """Whether a lost face can have come to where a fit is at ``time``: near, and of about its size."""
    last, now = box_of_pose(track.pose), fit.box
    width = last[2] - last[0]
    apart = float(np.hypot(now[0] + now[2] - last[0] - last[2], now[1] + now[3] - last[1] - last[3])) / 2
    growth = (now[2] - now[0]) / max(width, 1e-6)
    reach = width * (_REACH + _REACH_PER_S * (time - track.last_time))
    return apart < reach and _LEAST_GROWTH < growth < _MOST_GROWTH


def same_person(track: Track, fit: LandmarkFit, identities: Identities, *, in_place: bool) -> bool:
    """Whether a fit shows the track's person, by appearance, else by the embedding.

    ``in_place``: it is where the track was a moment ago. Embeddings are asked only where appearance leaves it open.
    """
    if correlation(track.appearance, fit.appearance) >= (_SIMILAR_IN_PLACE if in_place else _SIMILAR_ELSEWHERE):
        return True
    if track.track_id not in identities:
        return False
    apart = identities.distance(track.track_id, identities.embed(fit.patch.rgb, fit.in_patch))
    return apart < (_SAME_PERSON_IN_PLACE if in_place else SAME_PERSON)
