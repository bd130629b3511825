"""Sync-Window DMD: its parts are the paper's formulas, its stage resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.state_sync import StateSync
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.engines.rollout import roll_chunk
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.mini.student import (
    DistillationNetworks,
    StudentRecipe,
    matching_gradient,
    rollout_window,
    shifted_times,
    temporal_distance,
    train_student,
)
from tests.helpers.flow_batches import FRAMES, SMALL_FLOW, random_batch
from tests.helpers.small_stages import LATENT, awake, states


def test_rollout_window_is_the_rollout_of_dubbing() -> None:
    student = awake(CausalFlow(SMALL_FLOW))
    batch, schedule = random_batch(count=1), (0.999, 0.769)
    said = rollout_window(student, batch, schedule, Noise(3), exit_step=1)
    with torch.no_grad():
        cache, generator = student.begin(batch.references), torch.Generator().manual_seed(3)
        audio = student.audio(batch.audio)
        for first in range(0, FRAMES, 4):
            noises = [torch.randn(1, 4, LATENT, generator=generator) for _ in schedule]
            alone = roll_chunk(student, cache, audio[:, first : first + 4], noises, schedule)
            torch.testing.assert_close(said[:, first : first + 4], alone)


@pytest.mark.parametrize("exit_step", [0, 1])
def test_rollout_window_has_the_gradient_of_the_exit_step_alone(exit_step: int) -> None:
    student = awake(CausalFlow(SMALL_FLOW))
    calls = []
    predict = student.predict
    student.predict = lambda *a: calls.append(torch.is_grad_enabled()) or predict(*a)
    rollout_window(student, random_batch(), (0.999, 0.769), Noise(0), exit_step=exit_step)
    per_chunk = [False] * exit_step + [True]
    assert calls == per_chunk * (FRAMES // 4)


def test_matching_gradient_of_equal_networks_is_zero_outside_the_sync_window() -> None:
    teacher = awake(WindowFlow(SMALL_FLOW))
    networks = DistillationNetworks(teacher, teacher, StateSync(LATENT))
    batch, recipe = random_batch(), StudentRecipe(guidance=3.0, sync_window=(0.5, 0.8))
    t = torch.tensor([0.3, 0.6, 0.9])
    pull = matching_gradient(batch.z, batch, networks, t, recipe, Noise(0))
    assert pull[0].abs().max() < 1e-4 and pull[2].abs().max() < 1e-4
    assert pull[1].abs().max() > 1e-3, "inside the window guidance makes the teacher another one"


def test_matching_gradient_is_critic_minus_teacher_over_the_distance() -> None:
    teacher, critic = awake(WindowFlow(SMALL_FLOW), 1), awake(WindowFlow(SMALL_FLOW), 2)
    batch, t = random_batch(), torch.tensor([0.3, 0.6, 0.9])
    recipe = StudentRecipe(guidance=1.0)
    networks = DistillationNetworks(teacher, critic, StateSync(LATENT))
    pull = matching_gradient(batch.z, batch, networks, t, recipe, Noise(0))
    noise = torch.randn(batch.z.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        noisy = (1 - t[:, None, None]) * batch.z + t[:, None, None] * noise
        real = teacher.clean(noisy, t, teacher.audio(batch.audio), batch.references)
        fake = critic.clean(noisy, t, critic.audio(batch.audio), batch.references)
        for i in range(3):
            weight = 1 / ((batch.z[i] - real[i]).abs().mean() + 1e-6)
            torch.testing.assert_close(pull[i], weight * (fake[i] - real[i]), rtol=1e-3, atol=1e-4)


def test_shifted_times_are_pushed_towards_noise() -> None:
    plain, pushed = (shifted_times(2000, s, Noise(0)) for s in (1.0, 3.0))
    assert abs(float(plain.mean()) - 0.5) < 0.03 < float(pushed.mean()) - float(plain.mean())
    assert float(pushed.min()) > 0.0009 and float(pushed.max()) < 0.9991


def test_train_student_resumes_to_the_bit(tmp_path: Path) -> None:
    recipe = StudentRecipe(steps=6, batch=3, frames=(16,), every=2, save_every=3, learning_rate=0.01, warmup=1)

    def train(folder: Path, recipe: StudentRecipe = recipe, **more) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        student, teacher, expert = (
            awake(n) for n in (CausalFlow(SMALL_FLOW), WindowFlow(SMALL_FLOW), StateSync(LATENT))
        )
        return train_student(student, teacher, expert, states(), recipe, folder, **more).state_dict()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", on_save=stop)
    parts = train(tmp_path / "parts")
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    unrewarded = train(tmp_path / "plain", recipe.replaced(reward=0.0))
    assert any(not torch.equal(value, unrewarded[key]) for key, value in whole.items())


def test_temporal_distance_compares_motion_and_trains_the_student_alone() -> None:
    torch.manual_seed(0)
    expert = StateSync(LATENT).requires_grad_(False)
    real = torch.randn(2, 30, LATENT)
    assert torch.allclose(temporal_distance(expert, real, real), torch.zeros(2), atol=1e-5)
    said = torch.roll(real, 3, 1).requires_grad_(True)
    distance = temporal_distance(expert, said, real)
    assert (distance > 0.01).all()
    # Where lips are on average is not motion.
    assert torch.allclose(temporal_distance(expert, said + 1.5, real), distance, atol=1e-4)
    distance.sum().backward()
    assert said.grad is not None and said.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in expert.parameters())
