"""The stage of the encoder's landmarks."""

from __future__ import annotations

from pathlib import Path

import torch

from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.mini.points import PointsRecipe, points_loss, train_points
from tests.helpers.small_stages import fresh
from tests.helpers.weights import assert_same, weights_of


def test_points_loss_is_zero_for_the_truth_and_minds_the_opening() -> None:
    points = torch.rand(2, 29, 2)
    assert points_loss(points, points) == 0
    shifted, opened = points + 0.02, points.clone()
    opened[:, 17:20, 1] += 0.02
    assert points_loss(opened, points) > 0
    assert points_loss(shifted, points) > 0


def test_train_points_resumes_to_the_bit_and_changes_the_encoder_in_place(prepared: Path, tmp_path: Path) -> None:
    clips, recipe = load_clips(prepared, "train"), PointsRecipe(steps=4, clips=2, frames=2)
    encoder = fresh().encoder
    whole = train_points(encoder, clips, recipe, tmp_path / "whole")
    assert whole is encoder and not encoder.training
    train_points(fresh().encoder, clips, recipe.replaced(steps=2), tmp_path / "parts")
    parts = train_points(fresh().encoder, clips, recipe, tmp_path / "parts")
    assert_same(weights_of(whole), weights_of(parts))
    before = weights_of(fresh().encoder)
    assert any(not torch.equal(value, before[key]) for key, value in weights_of(whole).items())
