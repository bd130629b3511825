"""Whether a face can be dubbed in a frame: what hinders it, and a verdict that does not flicker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipsync_cli.core.types import FaceState, Float64
from lipsync_cli.faces.head_pose import HeadPose
from lipsync_cli.faces.options import QualityOptions

_CHIN, _MOUTH = (7, 8, 9), tuple(range(48, 68))
# In box widths: how near the lips may come to the edge, how far the chin may lie beyond it.
_MOUTH_MARGIN, _CHIN_OUTSIDE = 0.03, 0.2
# A verdict changes back only this far inside the limit.
_YAW_SLACK, _SIZE_SLACK = 0.06, 0.06


def usability_of(
    landmarks: Float64,
    width_px: float,
    head: HeadPose,
    display: tuple[int, int],
    options: QualityOptions,
    *,
    before: FaceState = FaceState.OK,
) -> FaceState:
    """The verdict of one frame: TOO_SMALL, CUT_OFF, PROFILE or OK, in that order.

    ``landmarks`` ``[68 2]`` and ``width_px`` (of the box) are in display pixels, ``display`` is the picture's width
    and height. The state that held ``before`` is left only beyond a margin, so that it does not flicker.
    """
    slack = _SIZE_SLACK if before == FaceState.TOO_SMALL else 0.0
    if width_px < options.min_face_px * (1 + slack):
        return FaceState.TOO_SMALL
    if leaves_picture(landmarks, display, width_px):
        return FaceState.CUT_OFF
    slack = _YAW_SLACK if before == FaceState.PROFILE else 0.0
    return FaceState.PROFILE if abs(head.yaw) > options.max_yaw - slack else FaceState.OK


def leaves_picture(landmarks: Float64, display: tuple[int, int], width_px: float) -> bool:
    """Whether the mouth comes near the picture's edge or the chin lies well beyond it.

    A tight close-up that only cuts the chin is still dubbed: half its frames would flicker otherwise.
    """
    low, high = np.zeros(2) - 0.5, np.asarray(display, np.float64) - 0.5
    inside = np.minimum(landmarks - low, high - landmarks).min(1) / width_px
    return bool(inside[list(_MOUTH)].min() < _MOUTH_MARGIN or inside[list(_CHIN)].mean() < -_CHIN_OUTSIDE)


def debounced(
    before: FaceState | None, past: Sequence[FaceState], coming: Sequence[FaceState], hold: int
) -> FaceState:
    """The state to show for the frame of ``coming[0]``, given the one that was shown ``before`` it.

    A change is believed when the frames around this one that agree with it, in ``past`` and ``coming``, number
    at least ``hold``: at once where the look-ahead has enough of them, later where it does not. What comes
    first in a track is believed if nothing contradicts it.
    """
    now = coming[0]
    if before is None:
        counts = [list(coming[:hold]).count(state) for state in coming[:hold]]
        return coming[int(np.argmax(counts))]
    if now == before:
        return before
    return now if _run_length(past[::-1], now) + _run_length(coming, now) >= hold else before


def _run_length(states: Sequence[FaceState], state: FaceState) -> int:
    """How many of ``states`` equal ``state`` before the first that does not."""
    for count, other in enumerate(states):
        if other != state:
            return count
    return len(states)
