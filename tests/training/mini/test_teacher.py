"""The bidirectional teacher: guidance, and attention to the future."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.mini.teacher import TeacherRecipe, train_teacher, window_loss
from tests.helpers.flow_batches import SMALL_FLOW, random_batch
from tests.helpers.small_stages import awake, flow, states
from tests.helpers.weights import assert_same, stop_training, weights_of


@torch.no_grad()
def test_teacher_guided_by_one_is_itself_and_by_zero_ignores_the_sound() -> None:
    teacher = awake(WindowFlow(SMALL_FLOW))
    batch = random_batch()
    audio, t = teacher.audio(batch.audio), torch.tensor([0.2, 0.5, 0.9])
    arguments = (batch.z, t, audio, batch.references)
    torch.testing.assert_close(teacher.guided(*arguments, 1.0), teacher.clean(*arguments))
    silent = teacher.clean(batch.z, t, torch.zeros_like(audio), batch.references)
    torch.testing.assert_close(teacher.guided(*arguments, 0.0), silent)
    doubled = teacher.guided(*arguments, torch.tensor([1.0, 2.0, 1.0]))
    plain = teacher.clean(*arguments)
    torch.testing.assert_close(doubled[[0, 2]], plain[[0, 2]])
    torch.testing.assert_close(doubled[1], 2 * plain[1] - silent[1])


@torch.no_grad()
def test_teacher_depends_on_the_future() -> None:
    teacher = awake(WindowFlow(SMALL_FLOW))
    batch = random_batch()
    audio, t = teacher.audio(batch.audio), torch.full((3,), 0.5)
    changed = batch.z.clone()
    changed[:, -1] += 1
    before, after = (teacher(z, t, audio, batch.references)[:, 0] for z in (batch.z, changed))
    assert (before - after).abs().max() > 1e-4


def test_train_teacher_resumes_to_the_bit(tmp_path: Path) -> None:
    recipe = TeacherRecipe(steps=4, batch=2, frames=(16,), width=16, layers=1, heads=2, warmup=1, save_every=2)

    def train(folder: Path, **more) -> WindowFlow:
        return train_teacher(flow(WindowFlow), states(), recipe, folder, **more)

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", on_save=stop_training)
    assert_same(weights_of(whole), weights_of(train(tmp_path / "parts")))


@torch.no_grad()
def test_window_loss_with_everything_dropped_does_not_depend_on_the_sound() -> None:
    teacher, batch = awake(WindowFlow(SMALL_FLOW)), random_batch()
    other = batch._replace(audio=batch.audio + 1)
    assert window_loss(teacher, batch, 1.0, Noise(0)) == window_loss(teacher, other, 1.0, Noise(0))
    assert window_loss(teacher, batch, 0.0, Noise(0)) != window_loss(teacher, other, 0.0, Noise(0))
