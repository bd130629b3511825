"""Stage: the sync expert over mouth states, whose confidence is the reward of the student."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lipsync_cli.engines.mini.nn.flow_backbone import FlowBackbone
from lipsync_cli.engines.mini.nn.state_sync import StateSync
from lipsync_cli.training.common.contrastive_loss import contrastive_loss, offset_logits
from lipsync_cli.training.common.loop import Pace, Values, descend, learning_rate, run_stage
from lipsync_cli.training.common.recipes import Count, CountOrNone, LearningRate, Recipe, Seed, Weight
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.mini.latents import LatentClip, WindowFrames, batch_at, clip_pools

NEAR = 2
"""Offsets up to this many frames count neither as in sync nor as out of it."""


class StateSyncRecipe(Recipe):
    """Sizes and rates of the stage; ``noise`` on the states, in their own standard deviations."""

    steps: Count = 1000
    batch: Count = 16
    frames: WindowFrames = (28, 40)
    learning_rate: LearningRate = 1e-3
    warmup: CountOrNone = 50
    noise: Weight = 0.2
    seed: Seed = 0


def state_sync_loss(agreement: Tensor, temperature: Tensor) -> Tensor:
    """Cross entropy of finding the right offset within ±(m−1) in agreements ``[b m m]``, both ways.

    Neighbours within ``NEAR`` frames are left out.
    """
    return contrastive_loss(offset_logits(agreement, temperature.exp(), tolerance=NEAR + 1))


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
    pools = clip_pools(clips, recipe.frames)

    def advance(step: int) -> Values:
        batch = batch_at(pools, recipe.seed + 1, step, size=recipe.batch, references=1, runtime=runtime)
        z = units.normalise(batch.z)
        z = z + recipe.noise * runtime.noise(recipe.seed + step).normal(z.shape)
        with runtime.autocast():
            agreement = expert.agreement(z, batch.audio)
        loss = state_sync_loss(agreement.float(), expert.temperature)
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=recipe.warmup)
        descend(optimiser, loss, rate, runtime=runtime)
        return {"loss": loss.detach()}

    pace = Pace(recipe.steps, deadline=deadline)
    averaged = run_stage(
        folder, {"expert": expert}, {"expert": optimiser}, advance, pace, result=expert, runtime=runtime
    )
    expert.load_state_dict(averaged.state_dict())
    return expert.eval()
