"""Cuts stand out, motion and light do not."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.faces.tracking.cuts import CutDetector, color_distance, layout_difference, same_shot, signature
from tests.helpers.disc_faces import paint_face, pose, scene

SIZE = (320, 180)


def cuts(pictures: list[np.ndarray]) -> list[int]:
    detector = CutDetector()
    return [i for i, picture in enumerate(pictures) if detector.push(signature(picture))]


def still(seed: int, base: tuple[int, int, int], count: int = 10) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    picture = paint_face(scene(*SIZE, seed, base), pose(160, 90, 60))
    return [np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8) for _ in range(count)]


FIRST, SECOND = still(1, (90, 60, 40)), still(2, (40, 60, 90))


def test_cut_is_not_at_the_first_picture() -> None:
    assert cuts(FIRST) == []


def test_cut_is_found_where_it_is() -> None:
    assert cuts(FIRST + SECOND + FIRST) == [10, 20]


def test_cut_is_not_a_pan() -> None:
    wide = scene(1200, 180, 3, (90, 60, 40))
    assert cuts([np.ascontiguousarray(wide[:, 20 * i : 20 * i + 320]) for i in range(40)]) == []


def test_cut_is_not_a_face_that_jumps_about() -> None:
    background = scene(*SIZE, 1, (90, 60, 40))
    rng = np.random.default_rng(0)
    places = rng.uniform((80, 70), (240, 110), (30, 2))
    assert cuts([paint_face(background, pose(x, y, 50)) for x, y in places]) == []


@pytest.mark.parametrize("gain", [0.5, 1.6])
def test_cut_is_not_a_change_of_exposure(gain: float) -> None:
    brighter = [
        np.clip(picture * (1 + (gain - 1) * min(1, i / 5)), 0, 255).astype(np.uint8)
        for i, picture in enumerate(FIRST)
    ]
    assert cuts(FIRST + brighter) == []


def test_same_shot_tells_a_flash_by_what_follows() -> None:
    flash = signature(np.full((180, 320, 3), 255, np.uint8))
    before, back, other = signature(FIRST[0]), signature(FIRST[5]), signature(SECOND[0])
    assert same_shot(before, flash, back)
    assert not same_shot(before, flash, other)


def test_differences_are_zero_for_the_same_picture() -> None:
    one = signature(FIRST[0])
    assert layout_difference(one, one) == 0
    assert color_distance(one, one) == pytest.approx(0, abs=1e-3)


def test_cut_detector_resumes_as_if_there_had_been_no_flash() -> None:
    detector = CutDetector()
    for picture in FIRST:
        detector.push(signature(picture))
    recent = detector.recent
    detector.push(signature(np.full((180, 320, 3), 255, np.uint8)))
    detector.resume(signature(FIRST[0]), recent)
    assert not detector.push(signature(FIRST[1]))
    assert len(recent) == 9
