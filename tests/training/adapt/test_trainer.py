"""Adapting the renderer to one video: what is rendered, what is learnt, and what is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.mouth_region import generation_region
from lipsync_cli.engines.sharpening import sharpened, sharpened_images
from lipsync_cli.training.adapt.adaptation_set import (
    REFERENCE_GAP_S,
    AdaptationSet,
    split,
)
from lipsync_cli.training.adapt.trainer import (
    ADAPTED,
    Adaptation,
    AdaptationTrainer,
    AdaptRecipe,
    HeldOutCheck,
    adapt,
)
from tests.helpers.tiny_mini import make_adaptation_set, make_networks

RECIPE = AdaptRecipe(learning_rate=2e-3, targets=2, warmup=1, check_every=4, held_out=3)


@pytest.fixture(scope="module")
def frames() -> AdaptationSet:
    return make_adaptation_set()


@pytest.fixture(scope="module")
def trainer(frames: AdaptationSet) -> AdaptationTrainer:
    return AdaptationTrainer(make_networks(), frames, RECIPE)


@pytest.fixture(scope="module")
def adapted(frames: AdaptationSet) -> Adaptation:
    return adapt(AdaptationTrainer(make_networks(), frames, RECIPE), steps=6)


def test_adapt_improves_held_out_frames(adapted: Adaptation) -> None:
    assert adapted.after.error < 0.98 * adapted.before.error
    assert adapted.after.loss < adapted.before.loss
    assert 0 < adapted.step <= adapted.steps == 6


def test_adapt_changes_the_last_layers_alone_and_leaves_the_best_state(frames: AdaptationSet) -> None:
    trainer, original = AdaptationTrainer(make_networks(), frames, RECIPE), make_networks().state_dict()
    found = adapt(trainer, steps=4)
    assert all(key.removeprefix("renderer.").startswith(ADAPTED) for key in found.changes)
    for key, value in trainer.networks.state_dict().items():
        expected = original[key] + found.changes[key] if key in found.changes else original[key]
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
    assert trainer.check() == found.after


def test_adapt_depends_on_the_seed_and_the_steps_only(frames: AdaptationSet, adapted: Adaptation) -> None:
    again = adapt(AdaptationTrainer(make_networks(), frames, RECIPE), steps=6)
    assert again.after == adapted.after
    assert all(torch.equal(again.changes[key], value) for key, value in adapted.changes.items())
    turns = iter([False] * 5 + [True])
    by_the_clock = adapt(AdaptationTrainer(make_networks(), frames, RECIPE), stop=lambda: next(turns))
    assert (by_the_clock.steps, by_the_clock.after) == (6, adapted.after)
    last: list[HeldOutCheck] = []
    for seed in (0, 1):
        adapt(AdaptationTrainer(make_networks(), frames, RECIPE.replaced(seed=seed)), steps=1, on_check=last.append)
    assert last[0] == last[2] and last[1].figures != last[3].figures


def test_adapt_keeps_nothing_that_is_no_better_than_the_start(frames: AdaptationSet) -> None:
    trainer, checks = (
        AdaptationTrainer(make_networks(), frames, RECIPE.replaced(learning_rate=1.0, patience=1)),
        list[HeldOutCheck](),
    )
    found = adapt(trainer, on_check=checks.append)
    assert found.changes == {} and found.step == 0 and found.after == found.before
    assert [check.figures == found.before for check in checks] == [True, False]
    assert found.steps <= 4 and trainer.check() == found.before


@pytest.mark.parametrize("shots", [1, 2])
def test_trainer_draws_references_from_another_moment_of_the_same_shot(shots: int) -> None:
    frames = make_adaptation_set(120, shots=shots)
    trainer = AdaptationTrainer(make_networks(), frames, RECIPE.replaced(targets=4))
    train, held = split(len(frames))
    for seed in range(60):
        targets, references = trainer.draw(np.random.default_rng(seed))
        assert (len(targets), len(references)) == (4, RECIPE.references)
        _assert_apart(frames, targets, references)
        assert set(targets) | set(references) <= set(train)
    assert len(trainer.held) and set(trainer.held) <= set(held)
    for index in trainer.held:
        references = trainer.dub_references(int(index))
        _assert_apart(frames, np.array([index]), references)
        assert set(references) <= set(train)


def _assert_apart(frames: AdaptationSet, targets: np.ndarray, references: np.ndarray) -> None:
    gaps = np.abs(frames.times[targets][:, None] - frames.times[references])
    assert gaps.min() >= REFERENCE_GAP_S
    assert len({*frames.tracks[targets], *frames.tracks[references]}) == 1


def test_trainer_renders_without_the_targets_own_lips(frames: AdaptationSet) -> None:
    trainer = AdaptationTrainer(make_networks(), frames, RECIPE)
    targets, references = trainer.draw(np.random.default_rng(0))
    before = trainer.render(targets, references).rendering.image
    hidden = frames.crops.copy()
    region = generation_region(hidden.shape[1])
    hidden[targets[:, None, None], np.arange(64)[:, None], np.arange(64)] = np.where(
        region[..., None], 255 - hidden[targets], hidden[targets]
    )
    trainer.frames = replace(frames, crops=hidden)
    after = trainer.render(targets, references).rendering.image
    shown = torch.from_numpy(region.copy())
    assert torch.equal(before[..., shown], after[..., shown])


def test_trainer_dub_references_are_spread_from_closed_to_open(
    trainer: AdaptationTrainer, frames: AdaptationSet
) -> None:
    index = int(trainer.held[-1])
    chosen = frames.landmarks[trainer.dub_references(index)]
    early = frames.landmarks[frames.partners(index, trainer.train)[:25]]
    opening = [np.linalg.norm(marks[:, 62] - marks[:, 66], axis=-1) for marks in (chosen, early)]
    assert np.all(np.diff(opening[0]) >= 0)
    assert (opening[0][0], opening[0][-1]) == (opening[1].min(), opening[1].max())


def test_trainer_refuses_shots_without_another_moment() -> None:
    with pytest.raises(InputError, match="too short"):
        AdaptationTrainer(make_networks(), make_adaptation_set(60, shots=6), RECIPE)


def test_trainer_sharpens_as_dub_does() -> None:
    picture = np.random.default_rng(0).random((64, 64, 3), np.float32)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    expected = torch.from_numpy(sharpened(picture, 0.3, 1.7)).permute(2, 0, 1)[None]
    torch.testing.assert_close(sharpened_images(image, 0.3, 1.7), expected, rtol=0, atol=1e-5)
