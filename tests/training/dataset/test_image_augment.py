"""Augmentation of the renderer's samples: landmarks stay on their faces, lips to be drawn stay free."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.core.geometry import transform_points
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.training.dataset.image_augment import AugmentRecipe, Pictures, augment, cover, degrade, reshape
from lipsync_cli.training.dataset.loader import load_clips, render_batches
from tests.helpers.prepared_folder import soft_noise, write_prepared

SIZE = 128
NEVER = AugmentRecipe(shaped=0, degraded=0, covered=0)


def face() -> np.ndarray:
    points = MEAN_FACE[:, :2]
    return transform_points(LOWER_FACE.matrix(LOWER_FACE.anchors(points), SIZE), points).astype(np.float32)


def sample(count: int = 3, seed: int = 0) -> Pictures:
    crops = soft_noise(count, SIZE, np.random.default_rng(seed))
    return Pictures(crops, np.repeat(face()[None], count, 0), np.ones((count, SIZE, SIZE), np.float32))


def test_shares_of_nothing_change_nothing() -> None:
    before, after = sample(), augment(sample(), 1, NEVER, np.random.default_rng(0))
    assert np.array_equal(before.crops, after.crops) and np.array_equal(before.landmarks, after.landmarks)
    assert after.real.all()


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_landmarks_move_with_the_picture(seed: int) -> None:
    mouth = face()[48:68].mean(0)
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    cv2.circle(crop, tuple(int(v) for v in np.round(mouth)), 4, (255, 255, 255), cv2.FILLED)
    moved = reshape(
        Pictures(crop[None], face()[None], np.ones((1, SIZE, SIZE), np.float32)), np.random.default_rng(seed)
    )
    ys, xs = np.nonzero(moved.crops[0, ..., 0] > 127)
    assert np.allclose([xs.mean(), ys.mean()], moved.landmarks[0, 48:68].mean(0), atol=1.0)


def test_what_a_turned_picture_lacks_is_not_real() -> None:
    pictures = sample(1)
    pictures.real[:, 100:] = 0
    moved = reshape(pictures, np.random.default_rng(3))
    assert set(np.unique(moved.real)) == {0.0, 1.0}
    assert not moved.real[0, -5:].any() and moved.real[0, 40:80, 40:80].all()


def test_a_sample_is_degraded_as_one_video() -> None:
    crop = sample(1).crops[0]
    changed = [degrade(np.stack([crop, crop]), np.random.default_rng(seed)) for seed in range(8)]
    assert all(np.array_equal(one, two) for one, two in changed)
    assert sum(not np.array_equal(one, crop) for one, _ in changed) >= 5


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_lips_to_be_drawn_stay_free_and_covered_pixels_are_not_learnt(seed: int) -> None:
    before, after = sample(2), sample(2)
    cover(after, 2, np.random.default_rng(seed))
    differ = (before.crops != after.crops).any(-1)
    assert differ.any((1, 2)).sum() <= 1
    for x, y in np.round(face()[48:68]).astype(int):
        assert not differ[:, y, x].any()
    # What rounds to another code value at the very edge counts as real; nothing that anybody would see does.
    steps = np.abs(before.crops.astype(int) - after.crops).max(-1)
    assert steps[after.real > 0].max() <= 8


def test_a_reference_may_lose_its_lips() -> None:
    mouths = []
    for seed in range(20):
        pictures = sample(1)
        cover(pictures, 0, np.random.default_rng(seed))
        x, y = np.round(face()[48:68].mean(0)).astype(int)
        mouths.append(bool((pictures.crops[0, y, x] != sample(1).crops[0, y, x]).any()))
    assert sum(mouths) > 10


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("augmented")
    return write_prepared(folder, [("train", "one")], frames=30, marks=lambda _: np.repeat(face()[None] * 1.5, 30, 0))


def test_batches_with_changes_are_a_function_of_their_seed(prepared: Path) -> None:
    clips = load_clips(prepared, "train")

    def draw(changes: AugmentRecipe | None) -> torch.Tensor:
        return next(
            render_batches(clips, size=64, sequences=2, targets=2, references=3, seed=5, changes=changes)
        ).targets

    always = AugmentRecipe(shaped=1, degraded=1, covered=1)
    assert torch.equal(draw(always), draw(always))
    assert not torch.equal(draw(always), draw(None))
