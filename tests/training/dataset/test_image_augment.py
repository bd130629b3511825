"""Image augmentation: landmarks stay on their faces, the lips of targets stay free."""

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
from lipsync_cli.training.dataset.image_augment import (
    ImageAugmentRecipe,
    ImageSample,
    augment_images,
    degrade,
    occlude,
    reshape,
)
from lipsync_cli.training.dataset.loader import load_clips, render_batches
from tests.helpers.prepared_folder import soft_noise, write_prepared

SIZE = 128
NEVER = ImageAugmentRecipe(shaped=0, degraded=0, covered=0)


def face() -> np.ndarray:
    points = MEAN_FACE[:, :2]
    return transform_points(LOWER_FACE.matrix(LOWER_FACE.anchors(points), SIZE), points).astype(np.float32)


def sample(count: int = 3, seed: int = 0) -> ImageSample:
    crops = soft_noise(count, SIZE, np.random.default_rng(seed))
    return ImageSample(crops, np.repeat(face()[None], count, 0), np.ones((count, SIZE, SIZE), np.float32))


def test_augment_images_with_probabilities_of_zero_changes_nothing() -> None:
    before, after = sample(), augment_images(sample(), 1, NEVER, np.random.default_rng(0))
    assert np.array_equal(before.crops, after.crops) and np.array_equal(before.landmarks, after.landmarks)
    assert after.valid.all()


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_reshape_moves_landmarks_with_the_picture(seed: int) -> None:
    mouth = face()[48:68].mean(0)
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    cv2.circle(crop, tuple(int(v) for v in np.round(mouth)), 4, (255, 255, 255), cv2.FILLED)
    moved = reshape(
        ImageSample(crop[None], face()[None], np.ones((1, SIZE, SIZE), np.float32)), np.random.default_rng(seed)
    )
    ys, xs = np.nonzero(moved.crops[0, ..., 0] > 127)
    assert np.allclose([xs.mean(), ys.mean()], moved.landmarks[0, 48:68].mean(0), atol=1.0)


def test_reshape_marks_what_it_lacks_as_not_valid() -> None:
    pictures = sample(1)
    pictures.valid[:, 100:] = 0
    moved = reshape(pictures, np.random.default_rng(3))
    assert set(np.unique(moved.valid)) == {0.0, 1.0}
    assert not moved.valid[0, -5:].any() and moved.valid[0, 40:80, 40:80].all()


def test_degrade_changes_all_pictures_alike() -> None:
    crop = sample(1).crops[0]
    changed = [degrade(np.stack([crop, crop]), np.random.default_rng(seed)) for seed in range(8)]
    assert all(np.array_equal(one, two) for one, two in changed)
    assert sum(not np.array_equal(one, crop) for one, _ in changed) >= 5


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_occlude_leaves_lips_of_targets_free_and_marks_what_it_covers(seed: int) -> None:
    before, after = sample(2), sample(2)
    occlude(after, 2, np.random.default_rng(seed))
    differ = (before.crops != after.crops).any(-1)
    assert differ.any((1, 2)).sum() <= 1
    for x, y in np.round(face()[48:68]).astype(int):
        assert not differ[:, y, x].any()
    # What rounds to another code value at the very edge counts as real; nothing that anybody would see does.
    steps = np.abs(before.crops.astype(int) - after.crops).max(-1)
    assert steps[after.valid > 0].max() <= 8


def test_occlude_may_cover_lips_of_references() -> None:
    mouths = []
    for seed in range(20):
        pictures = sample(1)
        occlude(pictures, 0, np.random.default_rng(seed))
        x, y = np.round(face()[48:68].mean(0)).astype(int)
        mouths.append(bool((pictures.crops[0, y, x] != sample(1).crops[0, y, x]).any()))
    assert sum(mouths) > 10


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("augmented")
    return write_prepared(folder, [("train", "one")], frames=30, marks=lambda _: np.repeat(face()[None] * 1.5, 30, 0))


def test_augment_images_in_batches_is_a_function_of_the_seed(prepared: Path) -> None:
    clips = load_clips(prepared, "train")

    def draw(augment: ImageAugmentRecipe | None) -> torch.Tensor:
        return next(
            render_batches(clips, size=64, sequences=2, targets=2, references=3, seed=5, augment=augment)
        ).targets

    always = ImageAugmentRecipe(shaped=1, degraded=1, covered=1)
    assert torch.equal(draw(always), draw(always))
    assert not torch.equal(draw(always), draw(None))
