"""What hinders dubbing, and that verdicts do not flicker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.core.types import FaceState
from lipsync_cli.faces.head_pose import HeadPose
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.faces.options import QualityOptions
from lipsync_cli.faces.usability import debounced, usability_of

OK, PROFILE, SMALL, CUT = FaceState.OK, FaceState.PROFILE, FaceState.TOO_SMALL, FaceState.CUT_OFF
DISPLAY = (640, 360)
OPTIONS = QualityOptions()


def judged(x: float = 200, y: float = 100, width: float = 120, yaw: float = 0.0, before: FaceState = OK) -> FaceState:
    landmarks = MEAN_FACE[:, :2] * width + [x, y]
    return usability_of(landmarks, width, HeadPose(yaw, 0, 0, 0), DISPLAY, OPTIONS, before=before)


def test_usability_of_an_ordinary_face_is_ok() -> None:
    assert judged() == OK


@pytest.mark.parametrize(("width", "state"), [(47, SMALL), (49, OK)])
def test_usability_ends_below_the_least_width(width: float, state: FaceState) -> None:
    assert judged(width=width) == state


@pytest.mark.parametrize("place", [(200, 270), (-70, 100), (580, 100)])
def test_usability_ends_with_the_mouth_or_chin_outside(place: tuple[float, float]) -> None:
    assert judged(*place) == CUT


def test_usability_does_not_need_the_forehead() -> None:
    assert judged(200, -30) == OK


def test_usability_of_a_profile_has_hysteresis() -> None:
    limit = OPTIONS.max_yaw
    assert judged(yaw=limit + 0.01) == judged(yaw=-limit - 0.01) == PROFILE
    assert judged(yaw=limit - 0.02) == OK
    assert judged(yaw=limit - 0.02, before=PROFILE) == PROFILE
    assert judged(yaw=limit - 0.1, before=PROFILE) == OK


def run_settled(raw: list[FaceState], lookahead: int, hold: int = 3) -> list[FaceState]:
    shown: FaceState | None = None
    out = []
    for i in range(len(raw)):
        shown = debounced(shown, raw[max(0, i - 3) : i], raw[i : i + lookahead + 1], hold)
        out.append(shown)
    return out


def test_debounced_shows_a_lasting_change_at_once_with_lookahead() -> None:
    raw = [OK] * 5 + [PROFILE] * 5 + [OK] * 5
    assert run_settled(raw, lookahead=3) == raw


def test_debounced_shows_it_when_it_has_lasted_without_lookahead() -> None:
    raw = [OK] * 5 + [PROFILE] * 5
    assert run_settled(raw, lookahead=0) == [OK] * 7 + [PROFILE] * 3


def test_debounced_ignores_short_changes() -> None:
    raw = [OK] * 5 + [PROFILE] * 2 + [OK] * 5 + [SMALL] + [OK] * 4
    assert run_settled(raw, lookahead=3) == [OK] * len(raw)
    assert run_settled([PROFILE, OK, OK, OK], lookahead=3)[0] == OK


@given(raw=st.lists(st.sampled_from([OK, PROFILE, SMALL]), min_size=1, max_size=40), lookahead=st.integers(2, 5))
def test_debounced_changes_always_last(raw: list[FaceState], lookahead: int) -> None:
    shown = run_settled(raw, lookahead)
    changes = [i for i in range(1, len(shown)) if shown[i] != shown[i - 1]]
    assert all(raw[i : i + 3] == [shown[i]] * 3 for i in changes)


def test_usability_of_a_close_up_that_cuts_the_chin_is_ok() -> None:
    assert MEAN_FACE[8, 1] == pytest.approx(1.076, abs=0.01)
    assert judged(200, 360 - 0.95 * 120) == OK
    assert judged(200, 360 - 0.87 * 120) == CUT
