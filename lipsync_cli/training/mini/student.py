"""Stage: the two-step causal student, by self-forcing with Sync-Window DMD and a sync reward (arXiv 2606.11180).

The student speaks whole windows with the run-time rollout, on its own past. A teacher that hears the sound and a
critic that follows the student's own distribution score the re-noised result; their difference is the gradient
(distribution matching distillation, Yin et al. 2024). The teacher is guided only inside the sync window of the
trajectory, and each sample's loss is weighted by how well a sync expert likes it (Re-DMD).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.state_sync import StateSync, confidence
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.engines.rollout import roll_chunk
from lipsync_cli.training.common.loop import Pace, Stage, Values, descend, learning_rate, with_weights
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.mini.latents import ClipPool, FlowBatch, LatentClip, batch_at, long_enough


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    """Sizes and rates.

    ``guidance`` is the teacher's scale inside ``sync_window`` (flow times) and 1 outside it. The critic learns at
    every step, the student at every ``every``-th. ``reward`` is β of the sample weights, which are normalised to a
    mean of one; 0 turns it off. ``truth`` adds that share of the squared distance to the real states, which plain
    distillation does without; ``temporal`` that of TREPA's distance (LatentSync) in the expert's eyes, see
    ``temporal_distance``.
    """

    steps: int = 1500
    batch: int = 12
    frames: tuple[int, ...] = (28, 48)
    references: int = 3
    schedule: tuple[float, ...] = (0.999, 0.769)
    guidance: float = 2.0
    sync_window: tuple[float, float] = (0.556, 0.882)
    shift: float = 3.0
    every: int = 3
    reward: float = 4.0
    truth: float = 0.0
    temporal: float = 0.0
    learning_rate: float = 1e-4
    critic_rate: float = 3e-4
    warmup: int = 30
    average: float = 0.99
    seed: int = 0
    save_every: int = 150


@dataclass(frozen=True, slots=True)
class Judges:
    """What scores the student: ``teacher`` and ``critic`` over windows, ``expert`` for the reward."""

    teacher: WindowFlow
    critic: WindowFlow
    expert: StateSync


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
    for network in (student, teacher, expert):
        runtime.place(network)
    critic = copy.deepcopy(teacher).requires_grad_(True)
    judges = Judges(teacher.requires_grad_(False), critic, expert.requires_grad_(False))
    betas = (0.0, 0.999)
    optimiser = torch.optim.AdamW(student.parameters(), recipe.learning_rate, betas, weight_decay=0.01)
    following = torch.optim.AdamW(judges.critic.parameters(), recipe.critic_rate, betas, weight_decay=0.01)
    stage = Stage(
        folder,
        {"student": student, "critic": judges.critic},
        {"student": optimiser, "critic": following},
        averaged="student",
        runtime=runtime,
    )
    pools = [long_enough(clips, frames) for frames in recipe.frames]

    def advance(step: int) -> Values:
        rate = learning_rate(step, recipe.steps, peak=1.0, warmup=recipe.warmup)
        values: Values = _follow(student, judges.critic, following, rate, pools, recipe, step, runtime)
        if step % recipe.every == recipe.every - 1:
            values = {**values, **_distil(student, judges, optimiser, rate, pools, recipe, step, runtime)}
        return values

    def saved(step: int) -> None:
        if on_save is not None:
            on_save(with_weights(student, stage.average), step)

    # A window of whole rounds between log rows, so that every row has the student's figures.
    pace = Pace(recipe.steps, recipe.save_every, 10 * recipe.every, recipe.average, deadline=deadline)
    return with_weights(student, stage.run(advance, pace, on_save=saved))


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
        heard = audio[:, first : first + chunk]
        chunks.append(roll_chunk(student, cache, heard, noises, schedule, grad_step=exit_step))
    return torch.cat(chunks, 1)


def _draw(
    pools: Sequence[ClipPool], recipe: StudentRecipe, step: int, runtime: Runtime, *, of_critic: bool
) -> tuple[FlowBatch, Noise, int]:
    """Batch, noise and exit step of one update."""
    number = 2 * step + int(of_critic)
    size, references = recipe.batch, recipe.references
    batch = batch_at(pools, recipe.seed + 2, number, size=size, references=references, runtime=runtime)
    noise = runtime.noise((recipe.seed + 3) * 1_000_003 + number)
    return batch, noise, noise.common_integer(len(recipe.schedule))


def _follow(
    student: CausalFlow,
    critic: WindowFlow,
    following: torch.optim.Optimizer,
    rate: float,
    pools: Sequence[ClipPool],
    recipe: StudentRecipe,
    step: int,
    runtime: Runtime,
) -> Values:
    """One update of the critic: flow matching on what the student says now."""
    batch, noises, exit_step = _draw(pools, recipe, step, runtime, of_critic=True)
    with torch.no_grad(), runtime.autocast():
        said = rollout_window(student, batch, recipe.schedule, noises, exit_step=exit_step)
    t = shifted_times(len(said), recipe.shift, noises)
    noise = noises.normal(said.shape)
    noisy = torch.lerp(said, noise, t[:, None, None])
    with runtime.autocast():
        velocity = critic(noisy, t, critic.audio(batch.audio), critic.normalise(batch.references))
    loss = (velocity - (noise - said)).pow(2).mean()
    descend(following, loss, rate * recipe.critic_rate, runtime=runtime)
    return {"critic": loss.detach()}


def _distil(
    student: CausalFlow,
    judges: Judges,
    optimiser: torch.optim.Optimizer,
    rate: float,
    pools: Sequence[ClipPool],
    recipe: StudentRecipe,
    step: int,
    runtime: Runtime,
) -> Values:
    """One update of the student."""
    batch, noise, exit_step = _draw(pools, recipe, step, runtime, of_critic=False)
    with runtime.autocast():
        said = rollout_window(student, batch, recipe.schedule, noise, exit_step=exit_step)
        t = shifted_times(len(said), recipe.shift, noise)
        pull = matching_gradient(said.detach(), batch, judges, t, recipe, noise)
    loss = 0.5 * (said - (said - pull).detach()).pow(2).mean((1, 2))
    with torch.no_grad():
        liked = confidence(judges.expert.agreement(said, batch.audio))
    everyones = runtime.gather(liked)
    weights = runtime.own_rows(torch.softmax(recipe.reward * everyones, 0) * len(everyones))
    real = student.normalise(batch.z)
    away = (said - real).pow(2).mean((1, 2))
    total = (weights * loss).mean() + recipe.truth * away.mean()
    if recipe.temporal:
        total = total + recipe.temporal * temporal_distance(judges.expert, said, real).mean()
    descend(optimiser, total, rate * recipe.learning_rate, runtime=runtime)
    return {
        "matching": loss.detach().mean(),
        "confidence": liked.mean(),
        "distance": away.detach().mean(),
    }


def temporal_distance(expert: StateSync, said: Tensor, real: Tensor) -> Tensor:
    """How differently two sequences of states ``[b n latent]`` move, ``[b]``: 1 − cosine of the expert's features of
    each stretch of ``SPAN`` frames."""
    return 1 - (expert.lips(said) * expert.lips(real)).sum(-1).mean(1)


@torch.no_grad()
def matching_gradient(
    said: Tensor, batch: FlowBatch, judges: Judges, t: Tensor, recipe: StudentRecipe, noise: Noise
) -> Tensor:
    """Critic's minus teacher's clean states at times ``t`` ``[b]``, over each sample's distance to the teacher's."""
    noisy = torch.lerp(said, noise.normal(said.shape), t[:, None, None])
    low, high = recipe.sync_window
    scale = torch.where((t >= low) & (t <= high), recipe.guidance, 1.0)
    teacher, critic = judges.teacher, judges.critic
    references = teacher.normalise(batch.references)
    real = teacher.guided(noisy, t, teacher.audio(batch.audio), references, scale)
    fake = critic.clean(noisy, t, critic.audio(batch.audio), references)
    weight = 1 / ((said - real).abs().mean((1, 2), keepdim=True) + 1e-6)
    return weight * (fake - real)


def shifted_times(count: int, shift: float, noise: Noise) -> Tensor:
    """Times in [0.001, 0.999], pushed towards noise: s·u / (1 + (s − 1)·u) of uniform u."""
    u = noise.uniform((count,))
    return (shift * u / (1 + (shift - 1) * u)).clamp(0.001, 0.999)
