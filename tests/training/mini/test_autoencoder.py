"""The joint stage of encoder and renderer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.dataset.loader import load_clips, render_batches
from lipsync_cli.training.mini.autoencoder import (
    perturb,
    reconstruction_losses,
    render,
    train_autoencoder,
)
from tests.helpers.small_stages import fresh, tiny_phase
from tests.helpers.weights import assert_same, stop_training, weights_of


def test_train_autoencoder_resumes_to_the_bit(prepared: Path, tmp_path: Path) -> None:
    clips = load_clips(prepared, "train")

    whole = train_autoencoder(fresh(), clips, tiny_phase(32, 4), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_autoencoder(fresh(), clips, tiny_phase(32, 4), tmp_path / "parts", on_save=stop_training)
    finished = train_autoencoder(fresh(), clips, tiny_phase(32, 4), tmp_path / "parts")
    assert_same(weights_of(whole), weights_of(finished))


def test_render_leaves_targets_as_they_are_outside_the_mask(prepared: Path) -> None:
    clips = load_clips(prepared, "train")
    batch = next(render_batches(clips, size=64, sequences=2, targets=2, references=2, seed=0))
    rendered = render(fresh().eval(), batch, Noise(0), latent_noise=0.0)
    outside = (rendered.mask == 0).expand_as(rendered.image)
    assert outside.any() and torch.equal(rendered.image[outside], rendered.targets[outside])
    assert torch.equal(rendered.targets, batch.targets.flatten(0, 1))
    assert rendered.z.shape == (4, 24) and rendered.points.shape == (4, 29, 2)


def test_reconstruction_losses_of_a_perfect_picture_are_zero(prepared: Path) -> None:
    clips = load_clips(prepared, "train")
    batch = next(render_batches(clips, size=64, sequences=1, targets=2, references=2, seed=0))
    rendered = render(fresh().eval(), batch, Noise(0), latent_noise=0.0)
    perfect = replace(rendered, image=rendered.targets)
    losses = reconstruction_losses(perfect)
    assert all(float(losses[name]) == pytest.approx(0, abs=1e-6) for name in ("l1", "gradient", "ssim"))
    assert float(losses["warped"].detach()) > 0


def test_perturb_changes_light_and_place_by_little_and_by_its_seed() -> None:
    images = torch.rand(4, 3, 32, 32)
    one, again, other = (perturb(images, Noise(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.shape == images.shape and float(one.min()) >= 0 and float(one.max()) <= 1
