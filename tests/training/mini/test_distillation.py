"""The parts of Sync-Window DMD do what the paper's formulas say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.mini.config import read_config
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.flow_backbone import FlowConfig
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.engines.mini.nn.state_sync import SPAN, StateSync, confidence
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.engines.rollout import roll_chunk
from lipsync_cli.hub import load_card
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.mini import causal
from lipsync_cli.training.mini.latents import FlowBatch, LatentClip, batch_at, long_enough
from lipsync_cli.training.mini.recipe import load_recipe, read_recipe, recipe_names
from lipsync_cli.training.mini.state_sync import NEAR, StateSyncRecipe, contrast, train_state_sync
from lipsync_cli.training.mini.student import (
    Judges,
    StudentRecipe,
    matching_gradient,
    rollout_window,
    shifted_times,
    temporal_distance,
    train_student,
)
from lipsync_cli.training.mini.trajectory import Bench, analyse
from tests.helpers.small_stages import LATENT, awake, states

FRAMES = 20
SMALL = FlowConfig(LATENT, 16, 2, 2, chunk=4, window=8)


def a_batch(count: int = 3, frames: int = FRAMES) -> FlowBatch:
    generator = torch.Generator().manual_seed(5)
    return FlowBatch(
        torch.randn(count, frames, LATENT, generator=generator),
        torch.randn(count, frames, 32, 80, generator=generator),
        torch.randn(count, 2, LATENT, generator=generator),
    )


@torch.no_grad()
def test_guidance_one_is_the_teacher_and_zero_ignores_the_sound() -> None:
    teacher = awake(WindowFlow(SMALL))
    batch = a_batch()
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
def test_the_teacher_sees_the_future() -> None:
    teacher = awake(WindowFlow(SMALL))
    batch = a_batch()
    audio, t = teacher.audio(batch.audio), torch.full((3,), 0.5)
    changed = batch.z.clone()
    changed[:, -1] += 1
    before, after = (teacher(z, t, audio, batch.references)[:, 0] for z in (batch.z, changed))
    assert (before - after).abs().max() > 1e-4


def test_the_rollout_of_training_is_the_rollout_of_dubbing() -> None:
    student = awake(CausalFlow(SMALL))
    batch, schedule = a_batch(count=1), (0.999, 0.769)
    said = rollout_window(student, batch, schedule, Noise(3), exit_step=1)
    with torch.no_grad():
        cache, generator = student.begin(batch.references), torch.Generator().manual_seed(3)
        audio = student.audio(batch.audio)
        for first in range(0, FRAMES, 4):
            noises = [torch.randn(1, 4, LATENT, generator=generator) for _ in schedule]
            alone = roll_chunk(student, cache, audio[:, first : first + 4], noises, schedule)
            torch.testing.assert_close(said[:, first : first + 4], alone)


@pytest.mark.parametrize("exit_step", [0, 1])
def test_only_the_exit_step_carries_a_gradient(exit_step: int) -> None:
    student = awake(CausalFlow(SMALL))
    calls = []
    predict = student.predict
    student.predict = lambda *a: calls.append(torch.is_grad_enabled()) or predict(*a)
    rollout_window(student, a_batch(), (0.999, 0.769), Noise(0), exit_step=exit_step)
    per_chunk = [False] * exit_step + [True]
    assert calls == per_chunk * (FRAMES // 4)


def test_a_critic_that_equals_the_teacher_pulls_nowhere_outside_the_window() -> None:
    teacher = awake(WindowFlow(SMALL))
    judges = Judges(teacher, teacher, StateSync(LATENT))
    batch, recipe = a_batch(), StudentRecipe(guidance=3.0, sync_window=(0.5, 0.8))
    t = torch.tensor([0.3, 0.6, 0.9])
    pull = matching_gradient(batch.z, batch, judges, t, recipe, Noise(0))
    assert pull[0].abs().max() < 1e-4 and pull[2].abs().max() < 1e-4
    assert pull[1].abs().max() > 1e-3, "inside the window guidance makes the teacher another one"


def test_the_pull_is_the_critic_minus_the_teacher_over_the_distance() -> None:
    teacher, critic = awake(WindowFlow(SMALL), 1), awake(WindowFlow(SMALL), 2)
    batch, t = a_batch(), torch.tensor([0.3, 0.6, 0.9])
    recipe = StudentRecipe(guidance=1.0)
    judges = Judges(teacher, critic, StateSync(LATENT))
    pull = matching_gradient(batch.z, batch, judges, t, recipe, Noise(0))
    noise = torch.randn(batch.z.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        noisy = (1 - t[:, None, None]) * batch.z + t[:, None, None] * noise
        real = teacher.clean(noisy, t, teacher.audio(batch.audio), batch.references)
        fake = critic.clean(noisy, t, critic.audio(batch.audio), batch.references)
        for i in range(3):
            weight = 1 / ((batch.z[i] - real[i]).abs().mean() + 1e-6)
            torch.testing.assert_close(pull[i], weight * (fake[i] - real[i]), rtol=1e-3, atol=1e-4)


def test_times_are_pushed_towards_noise() -> None:
    plain, pushed = (shifted_times(2000, s, Noise(0)) for s in (1.0, 3.0))
    assert abs(float(plain.mean()) - 0.5) < 0.03 < float(pushed.mean()) - float(plain.mean())
    assert float(pushed.min()) > 0.0009 and float(pushed.max()) < 0.9991


def test_confidence_knows_lips_from_shifted_lips() -> None:
    m = 16
    agreement = torch.eye(m)[None] + 0.0
    shifted = torch.roll(agreement, 4, 2)
    assert float(confidence(agreement)) == pytest.approx(1.0)
    assert float(confidence(shifted)) == pytest.approx(0.0)


def test_neighbours_do_not_count_against_the_right_offset() -> None:
    m = 12
    right = 5 * torch.eye(m)[None]
    beside = right.clone()
    index = torch.arange(m)
    gap = (index[:, None] - index[None]).abs()
    beside[0, (gap > 0) & (gap <= NEAR)] = 5
    temperature = torch.tensor(0.0)
    torch.testing.assert_close(contrast(right, temperature), contrast(beside, temperature))
    assert contrast(torch.roll(right, 5, 2), temperature) > contrast(right, temperature) + 1


def test_the_expert_embeds_stretches(tmp_path: Path) -> None:
    expert = StateSync(LATENT)
    lips, sound = expert.lips(a_batch().z), expert.sound(a_batch().audio)
    assert lips.shape == sound.shape == (3, FRAMES - SPAN + 1, 64)
    torch.testing.assert_close(lips.norm(dim=-1), torch.ones(3, FRAMES - SPAN + 1))
    moved = expert.lips(a_batch().z + 3.0)
    torch.testing.assert_close(lips, moved, rtol=1e-3, atol=1e-4)
    before = {key: value.clone() for key, value in expert.state_dict().items()}
    recipe = StateSyncRecipe(steps=2, batch=2, frames=(16,))
    train_state_sync(expert, CausalFlow(SMALL), states(), recipe, tmp_path)
    assert any(not torch.equal(value, before[key]) for key, value in expert.state_dict().items())


def test_a_stopped_and_resumed_student_equals_an_unbroken_one(tmp_path: Path) -> None:
    recipe = StudentRecipe(steps=6, batch=3, frames=(16,), every=2, save_every=3, learning_rate=0.01, warmup=1)

    def train(folder: Path, recipe: StudentRecipe = recipe, **more) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        student, teacher, expert = (awake(n) for n in (CausalFlow(SMALL), WindowFlow(SMALL), StateSync(LATENT)))
        return train_student(student, teacher, expert, states(), recipe, folder, **more).state_dict()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", on_save=stop)
    parts = train(tmp_path / "parts")
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    unrewarded = train(tmp_path / "plain", replace(recipe, reward=0.0))
    assert any(not torch.equal(value, unrewarded[key]) for key, value in whole.items())


def test_the_analysis_covers_the_trajectory(tmp_path: Path) -> None:
    teacher, expert = awake(WindowFlow(SMALL)), awake(StateSync(LATENT))
    path = analyse(teacher, expert, states(), tmp_path, scales=(1.0, 2.0), frames=16, size=2)
    rows = json.loads(path.read_text())
    assert len(rows["trajectory"]) == 2 * 50 and len(rows["two_steps"]) == 4 * 15
    assert rows["trajectory"][0]["time"] == pytest.approx(0.9997, abs=1e-3)
    batch = a_batch()
    perfect = Bench.of(teacher, expert, batch).judge(teacher.normalise(batch.z), (1.0,), 0.5)
    assert perfect.distance == 0 and perfect.spread == pytest.approx(1)


def test_window_lengths_take_turns() -> None:
    pools = [long_enough(states(), frames) for frames in (12, 16)]
    lengths = [batch_at(pools, 0, step, size=2, references=1).z.shape[1] for step in range(4)]
    assert lengths == [12, 16, 12, 16]


def test_every_recipe_that_comes_with_the_tool_is_read() -> None:
    assert "mini" in recipe_names()
    recipe = load_recipe("mini")
    assert recipe.student is not None and recipe.sharpen is not None
    assert [phase.crop_size for phase in recipe.autoencoder] == [96, 128]


@pytest.mark.parametrize(("recipe", "model"), [("mini", "lip-forcing-mini"), ("mini-open", "lip-forcing-mini-open")])
def test_shipped_cards_say_what_their_recipes_make(recipe: str, model: str) -> None:
    assert load_recipe(recipe).config() == read_config(load_card(model).generator, model=model)


@pytest.mark.parametrize(
    ("table", "where"),
    [({"teacher": {"stepz": 1}}, "teacher.stepz"), ({"points": {"steps": "many"}}, "points.steps")],
)
def test_a_wrong_recipe_says_where(table: dict, where: str) -> None:
    with pytest.raises(UsageError, match=where):
        read_recipe(table, Path("mine.toml"))
    with pytest.raises(UsageError, match="no training recipe"):
        load_recipe("nothing")


def test_liberty_is_taken_where_people_differ_and_left_where_one_moves():
    """Speakers differ in dimension 0 only and move in dimension 1 only; dimension 2 does both alike."""
    rng = np.random.default_rng(0)
    people = []
    for number in range(30):
        z = rng.normal(0, [0.01, 1.0, 1.0], (60, 3)) + rng.normal(0, [1.0, 0.0, 1.0], (1, 3))
        states = torch.from_numpy(z.astype(np.float32))
        people.append(LatentClip(states, np.zeros((0, 80)), np.zeros((0, 68, 2)), f"s{number}"))
    torch.manual_seed(0)
    flow = CausalFlow(FlowConfig(3, 16, 1, 2, chunk=4, window=8))
    causal.fit_normalisation(flow, people, MouthEncoder(3).eval())
    kept = flow.liberty.diagonal()
    assert kept[0] < 0.02 and kept[1] > 0.98
    assert float(kept[2]) == pytest.approx(1 / (1 + causal.STRANGENESS), abs=0.05)


def test_the_temporal_term_tells_motion_from_motion_and_teaches_the_student_alone() -> None:
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
