"""Stage: the two-step causal student, by self-forcing with Sync-Window DMD and a sync reward (arXiv 2606.11180).

The student generates whole windows with the run-time rollout, on its own past. A teacher that is conditioned on the
sound and a critic that follows the student's own distribution score the re-noised result; their difference is the
gradient (distribution matching distillation, Yin et al. 2024). The teacher is guided only inside the sync window of
the trajectory, and each sample's loss is weighted by the confidence of a sync expert (Re-DMD).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.state_sync import StateSync, confidence
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.engines.rollout import roll_chunk
from lipsync_cli.training.common.loop import Pace, Values, descend, learning_rate, run_stage
from lipsync_cli.training.common.noise import Noise, step_seed
from lipsync_cli.training.common.recipes import (
    Count,
    CountOrNone,
    FlowTime,
    LearningRate,
    Momentum,
    Recipe,
    Schedule,
    Seed,
    Shift,
    Weight,
)
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.mini.latents import FlowBatch, LatentClip, WindowFrames, batch_at, clip_pools

BETAS = (0.0, 0.999)


class StudentRecipe(Recipe):
    """Sizes and rates.

    ``guidance`` is the teacher's scale inside ``sync_window`` (flow times) and 1 outside it. The critic learns at
    every step, the student at every ``every``-th. ``reward`` is β of the sample weights, which are normalised to a
    mean of one; 0 turns it off. ``truth`` adds that share of the squared distance to the real states, which plain
    distillation does without; ``temporal`` that of TREPA's distance (LatentSync) between the expert's features, see
    ``temporal_distance``.
    """

    steps: Count = 1500
    batch: Count = 12
    frames: WindowFrames = (28, 48)
    references: Count = 3
    schedule: Schedule = (0.999, 0.769)
    guidance: Annotated[float, Field(ge=0, le=20)] = 2.0
    sync_window: tuple[FlowTime, FlowTime] = (0.556, 0.882)
    shift: Shift = 3.0
    every: Count = 3
    reward: Weight = 4.0
    truth: Weight = 0.0
    temporal: Weight = 0.0
    learning_rate: LearningRate = 1e-4
    critic_rate: LearningRate = 3e-4
    warmup: CountOrNone = 30
    average: Momentum = 0.99
    seed: Seed = 0
    save_every: Count = 150


@dataclass(frozen=True, slots=True)
class DistillationNetworks:
    """What scores the student: ``teacher`` and ``critic`` over windows, ``expert`` for the reward."""

    teacher: WindowFlow
    critic: WindowFlow
    expert: StateSync


class Distillation:
    """The student, what scores it, and the steps that train student and critic in turn.

    The critic begins as a copy of the teacher; teacher and expert are frozen.
    """

    def __init__(
        self,
        student: CausalFlow,
        teacher: WindowFlow,
        expert: StateSync,
        clips: Sequence[LatentClip],
        recipe: StudentRecipe,
        runtime: Runtime,
    ) -> None:
        for network in (student, teacher, expert):
            runtime.place(network)
        critic = copy.deepcopy(teacher).requires_grad_(True)
        self.recipe, self.runtime, self.student = recipe, runtime, student
        self.networks = DistillationNetworks(teacher.requires_grad_(False), critic, expert.requires_grad_(False))
        self.optimiser = torch.optim.AdamW(student.parameters(), recipe.learning_rate, BETAS, weight_decay=0.01)
        self.critic_optimiser = torch.optim.AdamW(critic.parameters(), recipe.critic_rate, BETAS, weight_decay=0.01)
        self._pools = clip_pools(clips, recipe.frames)

    def advance(self, step: int) -> Values:
        """One update of the critic and, at every ``every``-th step, one of the student."""
        recipe = self.recipe
        rate = learning_rate(step, recipe.steps, peak=1.0, warmup=recipe.warmup)
        values = self._critic_step(step, rate * recipe.critic_rate)
        if step % recipe.every == recipe.every - 1:
            values |= self._student_step(step, rate * recipe.learning_rate)
        return values

    def _draw(self, step: int, *, of_critic: bool) -> tuple[FlowBatch, Noise, int]:
        """Batch, noise and exit step of one update."""
        recipe, number = self.recipe, 2 * step + int(of_critic)
        batch = batch_at(
            self._pools, recipe.seed + 2, number,
            size=recipe.batch, references=recipe.references, runtime=self.runtime,
        )  # fmt: skip
        noise = self.runtime.noise(step_seed(recipe.seed + 3, number))
        return batch, noise, noise.common_integer(len(recipe.schedule))

    def _critic_step(self, step: int, rate: float) -> dict[str, Tensor]:
        """Flow matching of the critic on what the student generates now."""
        recipe, runtime, critic = self.recipe, self.runtime, self.networks.critic
        batch, noises, exit_step = self._draw(step, of_critic=True)
        with torch.no_grad(), runtime.autocast():
            generated = rollout_window(self.student, batch, recipe.schedule, noises, exit_step=exit_step)
        t = shifted_times(len(generated), recipe.shift, noises)
        noise = noises.normal(generated.shape)
        noisy = torch.lerp(generated, noise, t[:, None, None])
        with runtime.autocast():
            velocity = critic(noisy, t, critic.audio(batch.audio), critic.normalise(batch.references))
        loss = (velocity - (noise - generated)).pow(2).mean()
        descend(self.critic_optimiser, loss, rate, runtime=runtime)
        return {"critic": loss.detach()}

    def _student_step(self, step: int, rate: float) -> dict[str, Tensor]:
        """Distribution matching, weighted by the reward, with the distances to the real states that are asked for."""
        recipe, runtime, expert = self.recipe, self.runtime, self.networks.expert
        batch, noise, exit_step = self._draw(step, of_critic=False)
        with runtime.autocast():
            generated = rollout_window(self.student, batch, recipe.schedule, noise, exit_step=exit_step)
            t = shifted_times(len(generated), recipe.shift, noise)
            gradient = matching_gradient(generated.detach(), batch, self.networks, t, recipe, noise)
        loss = 0.5 * (generated - (generated - gradient).detach()).pow(2).mean((1, 2))
        with torch.no_grad():
            confidences = confidence(expert.agreement(generated, batch.audio))
        real = self.student.normalise(batch.z)
        distance = (generated - real).pow(2).mean((1, 2))
        total = (self._sample_weights(confidences) * loss).mean() + recipe.truth * distance.mean()
        if recipe.temporal:
            total = total + recipe.temporal * temporal_distance(expert, generated, real).mean()
        descend(self.optimiser, total, rate, runtime=runtime)
        return {
            "matching": loss.detach().mean(),
            "confidence": confidences.mean(),
            "distance": distance.detach().mean(),
        }

    def _sample_weights(self, confidences: Tensor) -> Tensor:
        """Weights ``[b]`` of this process's samples; the mean over those of all processes is 1."""
        whole = self.runtime.gather(confidences)
        return self.runtime.own_rows(torch.softmax(self.recipe.reward * whole, 0) * len(whole))


def train_student(
    student: CausalFlow,
    teacher: WindowFlow,
    expert: StateSync,
    clips: list[LatentClip],
    recipe: StudentRecipe,
    folder: Path,
    *,
    on_save: Callable[[CausalFlow, int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> CausalFlow:
    """Distil ``teacher`` into ``student``, resuming from ``folder``; returns a copy with the averaged weights."""
    torch.manual_seed(recipe.seed)
    stage = Distillation(student, teacher, expert, clips, recipe, runtime)
    networks = {"student": student, "critic": stage.networks.critic}
    optimisers = {"student": stage.optimiser, "critic": stage.critic_optimiser}
    # A window of whole rounds between log rows, so that every row has the student's figures.
    pace = Pace(recipe.steps, recipe.save_every, 10 * recipe.every, recipe.average, deadline=deadline)
    return run_stage(
        folder, networks, optimisers, stage.advance, pace, result=student, on_save=on_save, runtime=runtime
    )


def rollout_window(
    student: CausalFlow, batch: FlowBatch, schedule: Sequence[float], noise: Noise, *, exit_step: int
) -> Tensor:
    """States ``[b n latent]`` (normalised) of a whole window; the gradient is that of step ``exit_step`` alone."""
    audio = student.audio(batch.audio)
    with torch.no_grad():
        cache = student.begin(student.normalise(batch.references))
    chunk, chunks = student.config.chunk, []
    for first in range(0, batch.z.shape[1], chunk):
        shape = (len(batch.z), chunk, student.config.latent)
        noises = [noise.normal(shape) for _ in schedule]
        chunk_audio = audio[:, first : first + chunk]
        chunks.append(roll_chunk(student, cache, chunk_audio, noises, schedule, grad_step=exit_step))
    return torch.cat(chunks, 1)


def temporal_distance(expert: StateSync, generated: Tensor, real: Tensor) -> Tensor:
    """How differently two sequences of states ``[b n latent]`` move, ``[b]``: 1 − cosine of the expert's features of
    each stretch of ``SPAN`` frames."""
    return 1 - (expert.lips(generated) * expert.lips(real)).sum(-1).mean(1)


@torch.no_grad()
def matching_gradient(
    generated: Tensor,
    batch: FlowBatch,
    networks: DistillationNetworks,
    t: Tensor,
    recipe: StudentRecipe,
    noise: Noise,
) -> Tensor:
    """Critic's minus teacher's clean states at times ``t`` ``[b]``, over each sample's distance to the teacher's."""
    noisy = torch.lerp(generated, noise.normal(generated.shape), t[:, None, None])
    low, high = recipe.sync_window
    scale = torch.where((t >= low) & (t <= high), recipe.guidance, 1.0)
    teacher, critic = networks.teacher, networks.critic
    references = teacher.normalise(batch.references)
    real = teacher.guided(noisy, t, teacher.audio(batch.audio), references, scale)
    fake = critic.clean(noisy, t, critic.audio(batch.audio), references)
    weight = 1 / ((generated - real).abs().mean((1, 2), keepdim=True) + 1e-6)
    return weight * (fake - real)


def shifted_times(count: int, shift: float, noise: Noise) -> Tensor:
    """Times in [0.001, 0.999], pushed towards noise: s·u / (1 + (s − 1)·u) of uniform u."""
    u = noise.uniform((count,))
    return (shift * u / (1 + (shift - 1) * u)).clamp(0.001, 0.999)
