"""When a search of the whole picture may be spared, and when not."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.faces.detectors.protocol import FaceReader
from lipsync_cli.faces.options import TrackOptions
from lipsync_cli.faces.tracking.background_change import BackgroundChange
from lipsync_cli.faces.tracking.cuts import signature
from lipsync_cli.faces.tracking.tracker import Tracker
from tests.helpers.disc_faces import (
    DiscDetector,
    DiscPredictor,
    SkinRecogniser,
    frame,
    paint_face,
    pose,
    scene,
    video_info,
)

WIDTH, HEIGHT = 480, 270
FACE = (160.0, 80.0, 250.0, 170.0)
STEP = 5


def thumbnail(picture: np.ndarray) -> np.ndarray:
    return signature(picture).grey


def changed(before: np.ndarray, after: np.ndarray, rotation: int = 0) -> bool:
    info = video_info(*before.shape[1::-1], rotation=rotation)
    return BackgroundChange(info).changed(thumbnail(before), thumbnail(after), [FACE])


def test_background_change_is_only_what_happens_elsewhere() -> None:
    before = scene(WIDTH, HEIGHT)
    talking = paint_face(before, pose(205, 125, 80))
    newcomer = paint_face(talking, pose(400, 125, 50))
    assert not changed(before, talking)
    assert changed(talking, newcomer)


def test_background_change_is_not_noise() -> None:
    rng = np.random.default_rng(0)
    before = scene(WIDTH, HEIGHT)
    noisy = np.clip(before + rng.normal(0, 6, before.shape), 0, 255).astype(np.uint8)
    assert not changed(before, noisy)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_background_change_takes_boxes_of_the_upright_picture(rotation: int) -> None:
    before = scene(WIDTH, HEIGHT)
    talking = paint_face(before, pose(205, 125, 80))
    newcomer = paint_face(before, pose(400, 125, 50))
    stored = [np.ascontiguousarray(np.rot90(picture, rotation // 90)) for picture in (before, talking, newcomer)]
    assert not changed(stored[0], stored[1], rotation)
    assert changed(stored[0], stored[2], rotation)


class Watched(DiscDetector):
    """Notes the sizes of the pictures it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[int, ...]] = []

    def detect(self, picture: np.ndarray, *, thorough: bool = True) -> list:
        self.shown.append(picture.shape[:2])
        return super().detect(picture, thorough=thorough)


def searches(pictures: list[np.ndarray]) -> tuple[int, int, list[int]]:
    """How often the whole picture and how often a patch were looked at, and faces per frame."""
    detector = Watched()
    options = TrackOptions(detect_every=STEP)
    tracker = Tracker(
        video_info(WIDTH, HEIGHT), FaceReader(detector, DiscPredictor()), options, recogniser=SkinRecogniser()
    )
    faces = [len(item.faces) for item in tracker.run(frame(i, picture) for i, picture in enumerate(pictures))]
    whole = detector.shown.count((HEIGHT, WIDTH))
    return whole, len(detector.shown) - whole, faces


def test_search_of_a_still_scene_comes_every_fifth_time() -> None:
    still = paint_face(scene(WIDTH, HEIGHT), pose(200, 130, 90))
    assert searches([still] * 51) == (3, 8, [1] * 51)


def test_search_of_a_moving_scene_comes_every_time() -> None:
    panned = [paint_face(np.roll(scene(WIDTH, HEIGHT), 4 * i, axis=1), pose(100 + 4 * i, 130, 90)) for i in range(51)]
    whole, _, faces = searches(panned)
    assert (whole, faces) == (11, [1] * 51)


def test_search_finds_an_unnoticed_newcomer_at_the_fifth_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented bound where the thumbnail shows no change: 5 × detect_every frames, less the look-ahead."""
    monkeypatch.setattr(BackgroundChange, "changed", lambda *_: False)
    alone = paint_face(scene(WIDTH, HEIGHT), pose(150, 130, 90))
    both = paint_face(alone, pose(380, 130, 90), 120)
    _, _, faces = searches([alone] * 3 + [both] * 40)
    assert faces.index(2) == 5 * STEP - TrackOptions().lookahead_frames
