"""The occlusion model, fed with grids of colours."""

from __future__ import annotations

import cv2
import numpy as np

from lipsync_cli.core.types import Float32
from lipsync_cli.faces.face_patch import PATCH_PX, cut_patch
from lipsync_cli.faces.head_pose import HeadPose
from lipsync_cli.faces.tracking.occlusion import OcclusionModel, lower_face

RATE = 25.0
AHEAD = HeadPose(0, 0, 0, 0)


def face(opening: float = 0.0, light: float = 0.0, cover: tuple[int, int, int] | None = None) -> Float32:
    """A skin-coloured patch with a mouth ``opening`` times as dark and tall, and perhaps something in front."""
    rgb = np.full((PATCH_PX, PATCH_PX, 3), (200, 150, 130), np.uint8)
    cv2.ellipse(rgb, (80, 106), (16, 4), 0, 0, 360, (170, 90, 90), -1)
    cv2.ellipse(rgb, (80, 108), (12, 1 + round(9 * opening)), 0, 0, 360, (60, 30, 30), -1)
    if cover is not None:
        cv2.ellipse(rgb, (80, 112), (30, 24), 0, 0, 360, cover, -1)
    rgb = np.clip(rgb.astype(float) + light, 0, 255).astype(np.uint8)
    unit = np.array([[100.0, 0, 30], [0, 100, 30]])
    return lower_face(cut_patch(rgb, np.array([[1.0, 0, 0], [0, 1, 0]]), unit), unit)


def spoken(memory: OcclusionModel, frames: int, start: int = 0, **more: float) -> list[bool]:
    shown = []
    for i in range(start, start + frames):
        shown.append(memory.update(face(0.5 + 0.5 * np.sin(i * 0.9), **more), AHEAD, i / RATE))
    return shown


def test_occlusion_is_not_speech() -> None:
    assert not any(spoken(OcclusionModel(), 100))


def test_occlusion_is_a_microphone_or_a_hand() -> None:
    for color in ((30, 30, 30), (150, 105, 85)):
        memory = OcclusionModel()
        spoken(memory, 60)
        assert all(memory.update(face(cover=color), AHEAD, (60 + i) / RATE) for i in range(10))
        assert not any(spoken(memory, 10, start=70))


def test_occlusion_is_not_brighter_light() -> None:
    memory = OcclusionModel()
    spoken(memory, 60)
    assert not any(spoken(memory, 20, start=60, light=18.0))


def test_occlusion_is_not_judged_before_enough_was_learned() -> None:
    memory = OcclusionModel()
    spoken(memory, 30)
    assert not memory.update(face(cover=(30, 30, 30)), AHEAD, 1.2)


def test_occlusion_that_stays_becomes_the_new_appearance() -> None:
    memory = OcclusionModel()
    spoken(memory, 60)
    mask = [memory.update(face(cover=(90, 120, 200)), AHEAD, (60 + i) / RATE) for i in range(300)]
    assert all(mask[:124])
    assert not any(mask[130:])


def test_occlusion_model_learns_a_turned_head_rather_than_judging_it() -> None:
    memory = OcclusionModel()
    spoken(memory, 60)
    mild = face(cover=(178, 128, 108))
    assert 1.0 < memory.novelty(mild) < 1.6
    assert not any(memory.update(mild, HeadPose(0.2, 0, 0, 0), (60 + i) / RATE) for i in range(20))
    assert memory.novelty(mild) < 0.1


def test_occlusion_model_does_not_learn_what_covers_as_the_head_turns() -> None:
    memory = OcclusionModel()
    spoken(memory, 60)
    hand = face(cover=(150, 105, 85))
    assert all(memory.update(hand, HeadPose(0.02 * i, 0, 0, 0), (60 + i) / RATE) for i in range(20))


def test_occlusion_model_is_bounded() -> None:
    memory = OcclusionModel()
    rng = np.random.default_rng(0)
    for i in range(200):
        memory.update(face() + rng.normal(0, 8, (108, 3)).astype(np.float32), AHEAD, i / RATE)
    assert len(memory.examples) <= 16


def test_novelty_is_the_distance_to_the_nearest_example() -> None:
    cells = [face(opening) for opening in (0.0, 0.4, 1.0)]
    one_by_one = [OcclusionModel(examples=[example]).novelty(cells[2]) for example in cells[:2]]
    assert OcclusionModel(examples=cells[:2]).novelty(cells[2]) == min(one_by_one)
    assert OcclusionModel(examples=cells).novelty(cells[2]) == 0.0
    assert OcclusionModel().novelty(cells[2]) == 0.0
