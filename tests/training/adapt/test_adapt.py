"""Adapting the renderer to one video: what is drawn, what is held out, what is learnt, and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.mouth_region import generation_region
from lipsync_cli.engines.sharpening import sharpened, sharpened_images
from lipsync_cli.training.adapt.adapt import ADAPTED, Adapted, AdaptRecipe, Check, Course, adapt
from lipsync_cli.training.adapt.footage import GUARD, REFERENCE_GAP_S, Footage, Sample, SpreadSample, split
from lipsync_cli.training.common.image_losses import detail_l1
from tests.helpers.tiny_mini import make_footage, make_networks

RECIPE = AdaptRecipe(learning_rate=2e-3, targets=2, warmup=1, check_every=4, held_out=3)


@pytest.fixture(scope="module")
def footage() -> Footage:
    return make_footage()


@pytest.fixture(scope="module")
def course(footage: Footage) -> Course:
    return Course(make_networks(), footage, RECIPE)


@pytest.fixture(scope="module")
def adapted(footage: Footage) -> Adapted:
    return adapt(Course(make_networks(), footage, RECIPE), steps=6)


def test_held_out_frames_come_out_better(adapted: Adapted) -> None:
    assert adapted.after.error < 0.98 * adapted.before.error
    assert adapted.after.loss < adapted.before.loss
    assert 0 < adapted.step <= adapted.steps == 6


def test_only_the_last_layers_of_the_renderer_change_and_the_best_state_stays(footage: Footage) -> None:
    course, original = Course(make_networks(), footage, RECIPE), make_networks().state_dict()
    found = adapt(course, steps=4)
    assert all(key.removeprefix("renderer.").startswith(ADAPTED) for key in found.changes)
    for key, value in course.networks.state_dict().items():
        expected = original[key] + found.changes[key] if key in found.changes else original[key]
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
    assert course.check() == found.after


def test_the_result_depends_on_the_seed_and_the_steps_only(footage: Footage, adapted: Adapted) -> None:
    again = adapt(Course(make_networks(), footage, RECIPE), steps=6)
    assert again.after == adapted.after
    assert all(torch.equal(again.changes[key], value) for key, value in adapted.changes.items())
    turns = iter([False] * 5 + [True])
    by_the_clock = adapt(Course(make_networks(), footage, RECIPE), stop=lambda: next(turns))
    assert (by_the_clock.steps, by_the_clock.after) == (6, adapted.after)
    last: list[Check] = []
    for seed in (0, 1):
        adapt(Course(make_networks(), footage, replace(RECIPE, seed=seed)), steps=1, on_check=last.append)
    assert last[0] == last[2] and last[1].figures != last[3].figures


def test_what_is_no_better_than_the_start_is_not_kept(footage: Footage) -> None:
    course, checks = Course(make_networks(), footage, replace(RECIPE, learning_rate=1.0, patience=1)), list[Check]()
    found = adapt(course, on_check=checks.append)
    assert found.changes == {} and found.step == 0 and found.after == found.before
    assert [check.figures == found.before for check in checks] == [True, False]
    assert found.steps <= 4 and course.check() == found.before


@pytest.mark.parametrize("shots", [1, 2])
def test_references_come_from_another_moment_of_the_same_shot(shots: int) -> None:
    footage = make_footage(120, shots=shots)
    course = Course(make_networks(), footage, replace(RECIPE, targets=4))
    train, held = split(len(footage))
    for seed in range(60):
        targets, references = course.draw(np.random.default_rng(seed))
        assert (len(targets), len(references)) == (4, RECIPE.references)
        _assert_apart(footage, targets, references)
        assert set(targets) | set(references) <= set(train)
    assert len(course.held) and set(course.held) <= set(held)
    for index in course.held:
        references = course.references_like_dub(int(index))
        _assert_apart(footage, np.array([index]), references)
        assert set(references) <= set(train)


def _assert_apart(footage: Footage, targets: np.ndarray, references: np.ndarray) -> None:
    gaps = np.abs(footage.times[targets][:, None] - footage.times[references])
    assert gaps.min() >= REFERENCE_GAP_S
    assert len({*footage.tracks[targets], *footage.tracks[references]}) == 1


def test_the_targets_own_lips_are_never_seen(footage: Footage) -> None:
    course = Course(make_networks(), footage, RECIPE)
    targets, references = course.draw(np.random.default_rng(0))
    before = course.render(targets, references).out.image
    hidden = footage.crops.copy()
    region = generation_region(hidden.shape[1])
    hidden[targets[:, None, None], np.arange(64)[:, None], np.arange(64)] = np.where(
        region[..., None], 255 - hidden[targets], hidden[targets]
    )
    course.footage = replace(footage, crops=hidden)
    after = course.render(targets, references).out.image
    shown = torch.from_numpy(region.copy())
    assert torch.equal(before[..., shown], after[..., shown])


def test_references_are_spread_from_closed_to_open_as_dub_spreads_them(course: Course, footage: Footage) -> None:
    index = int(course.held[-1])
    chosen = footage.landmarks[course.references_like_dub(index)]
    early = footage.landmarks[footage.partners(index, course.train)[:25]]
    opening = [np.linalg.norm(marks[:, 62] - marks[:, 66], axis=-1) for marks in (chosen, early)]
    assert np.all(np.diff(opening[0]) >= 0)
    assert (opening[0][0], opening[0][-1]) == (opening[1].min(), opening[1].max())


def test_shots_without_another_moment_are_refused() -> None:
    with pytest.raises(InputError, match="too short"):
        Course(make_networks(), make_footage(60, shots=6), RECIPE)


@given(st.integers(40, 1000))
def test_held_out_blocks_are_a_seventh_and_have_a_gap_around_them(count: int) -> None:
    train, held = split(count)
    assert 0.12 * count <= len(held) <= 0.18 * count
    assert len(train) >= 0.6 * count
    assert np.abs(train[:, None] - held).min() > GUARD


def offered(count: int, limit: int, run: int) -> tuple[list[int], int]:
    """Which of ``count`` items are kept, and how many were ever held."""
    sample, made = SpreadSample(limit, run), 0

    def make(number: int) -> Callable[[], Sample]:
        return lambda: Sample(np.zeros((1, 1, 3), np.uint8), np.zeros((68, 2)), float(number), 0)

    for number in range(count):
        sample.add(make(number))
        made = max(made, len(sample.items()))
    assert sample.offered == count
    return [int(item.time) for item in sample.items()], made


@given(st.integers(1, 400), st.integers(1, 7), st.integers(2, 12))
def test_a_sample_is_bounded_and_spread_over_the_whole(count: int, run: int, runs: int) -> None:
    limit = run * runs
    kept, most = offered(count, limit, run)
    assert most <= limit and kept == sorted(set(kept)) and kept[0] == 0
    if count <= limit:
        assert kept == list(range(count))
        return
    numbers = sorted({number // run for number in kept})
    strides = set(np.diff(numbers))
    assert len(kept) >= limit // 2 - run and len(strides) == 1
    assert count // run - numbers[-1] <= strides.pop()


def test_drawings_are_judged_as_dub_sharpens_them() -> None:
    picture = np.random.default_rng(0).random((64, 64, 3), np.float32)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    expected = torch.from_numpy(sharpened(picture, 0.3, 1.7)).permute(2, 0, 1)[None]
    torch.testing.assert_close(sharpened_images(image, 0.3, 1.7), expected, rtol=0, atol=1e-5)


def test_local_contrast_minds_blur_and_not_where_the_detail_lies() -> None:
    noise = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(1, 1, 48, 48)
    assert detail_l1(noise, noise, weights) == 0
    blurred = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    assert detail_l1(noise.roll(24, -1), noise, weights) < 0.2 * detail_l1(blurred, noise, weights)
