"""The renderer against a critic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipsync_cli.engines.mini.nn.patch_critic import Judgement
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.mini.adversarial import (
    AdversarialRecipe,
    feature_matching,
    gradient_balance,
    hinge,
    train_adversarial,
    weighted_mean,
)
from tests.helpers.small_stages import fresh
from tests.helpers.weights import assert_same, stop_training, weights_of


def test_train_adversarial_resumes_to_the_bit_and_leaves_the_encoder_alone(prepared: Path, tmp_path: Path) -> None:
    clips = load_clips(prepared, "train")
    recipe = AdversarialRecipe(
        crop_size=64, network_size=32, steps=4, sequences=1, targets=1, references=2, critic_only=1, save_every=2
    )

    whole = train_adversarial(fresh(), clips, recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_adversarial(fresh(), clips, recipe, tmp_path / "parts", on_save=stop_training)
    finished = train_adversarial(fresh(), clips, recipe, tmp_path / "parts")
    assert_same(weights_of(whole), weights_of(finished))
    assert_same(weights_of(whole.encoder), weights_of(fresh().encoder))
    first, second = weights_of(whole.renderer), weights_of(fresh().renderer)
    assert any(not torch.equal(first[key], second[key]) for key in first)


def test_hinge_is_zero_for_a_critic_that_is_sure_and_right() -> None:
    region = torch.ones(1, 1, 8, 8)
    real, fake = torch.full((1, 1, 4, 4), 1.5), torch.full((1, 1, 4, 4), -1.5)
    assert float(hinge(real, fake, region)) == 0
    assert float(hinge(fake, real, region)) == pytest.approx(2 * 2.5)
    assert float(hinge(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), region)) == pytest.approx(2)


def test_weighted_mean_counts_the_region_alone() -> None:
    region = torch.zeros(1, 1, 8, 8)
    region[..., :4] = 1
    maps = torch.zeros(1, 2, 4, 4)
    maps[..., 2:] = 100.0
    maps[..., :2] = 3.0
    assert float(weighted_mean(maps, region)) == pytest.approx(3.0)


def test_feature_matching_does_not_depend_on_the_scale_of_features() -> None:
    region = torch.ones(1, 1, 8, 8)
    real, fake = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    judged = [Judgement(torch.zeros(1, 1, 2, 2), (features,)) for features in (fake, real, 5 * fake, 5 * real)]
    once = feature_matching(judged[0], judged[1], region)
    assert float(once) > 0 and float(feature_matching(judged[1], judged[1], region)) == 0
    torch.testing.assert_close(feature_matching(judged[2], judged[3], region), once)


def test_gradient_balance_gives_both_losses_the_same_gradient() -> None:
    image = torch.randn(1, 3, 4, 4, requires_grad=True)
    reconstruction, adversarial = 5 * image.sum(), 0.5 * image.sum()
    assert float(gradient_balance(reconstruction, adversarial, image)) == pytest.approx(10, rel=1e-4)
    assert float(gradient_balance(reconstruction, 1e-6 * image.sum(), image)) == 100, "bounded"
