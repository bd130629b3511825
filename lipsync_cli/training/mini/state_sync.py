"""Stage: the sync expert over mouth states, whose confidence is the reward of the student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lipsync_cli.engines.mini.nn.flow_backbone import FlowBackbone
from lipsync_cli.engines.mini.nn.state_sync import StateSync
from lipsync_cli.training.common.loop import Pace, Stage, Values, descend, learning_rate
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.mini.latents import LatentClip, batch_at, long_enough
from lipsync_cli.training.sync.shift_loss import choice_loss, shift_logits

NEAR = 2
"""Offsets up to this many frames count neither as in sync nor as out of it."""


@dataclass(frozen=True, slots=True)
class StateSyncRecipe:
    """Sizes and rates of the stage; ``noise`` on the states, in their own standard deviations."""

    steps: int = 1000
    batch: int = 16
    frames: tuple[int, ...] = (28, 40)
    learning_rate: float = 1e-3
    warmup: int = 50
    noise: float = 0.2
    seed: int = 0


def contrast(agreement: Tensor, temperature: Tensor) -> Tensor:
    """Cross entropy of finding the right offset within ±(m−1), both ways; neighbours within ``NEAR`` are left out."""
    return choice_loss(shift_logits(agreement, temperature.exp(), tolerance=NEAR + 1))


def train_state_sync(
    expert: StateSync,
    units: FlowBackbone,
    clips: list[LatentClip],
    recipe: StateSyncRecipe,
    folder: Path,
    *,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> StateSync:
    """Train ``expert`` on states normalised as ``units`` does; resumes; ends with the averaged weights."""
    runtime.place(expert)
    optimiser = torch.optim.AdamW(expert.parameters(), recipe.learning_rate, weight_decay=0.05)
    stage = Stage(folder, {"expert": expert}, {"expert": optimiser}, averaged="expert", runtime=runtime)
    pools = [long_enough(clips, frames) for frames in recipe.frames]

    def advance(step: int) -> Values:
        batch = batch_at(pools, recipe.seed + 1, step, size=recipe.batch, references=1, runtime=runtime)
        z = units.normalise(batch.z)
        z = z + recipe.noise * runtime.noise(recipe.seed + step).normal(z.shape)
        with runtime.autocast():
            agreement = expert.agreement(z, batch.audio)
        loss = contrast(agreement.float(), expert.temperature)
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=recipe.warmup)
        descend(optimiser, loss, rate, runtime=runtime)
        return {"loss": loss.detach()}

    expert.load_state_dict(stage.run(advance, Pace(recipe.steps, deadline=deadline)))
    return expert.eval()
