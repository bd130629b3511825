"""The sync expert's stage: pictures and sound of one moment against those of other moments.

StableSyncNet's loss, −log cos for what belongs together and −log (1 − cos) for what does not, half and half. At the
few dozen clips a step that two cores can do, that loss alone stays at ln 2 for long (LatentSync 4 saw the same below
256 pairs). So each step compares every window of a stretch with every other, hard negatives two frames apart and up,
and adds a contrastive loss over all offsets (the multi-way matching of Chung, Chung and Kang 2019, "Perfect match").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from lipsync_cli.nn.sync.sync_mini import WINDOW_FRAMES, SyncConfig, SyncMini
from lipsync_cli.training.common.contrastive_loss import contrastive_loss, offset_logits
from lipsync_cli.training.common.loop import Pace, Values, descend, run_stage
from lipsync_cli.training.common.noise import part_seed, step_seed
from lipsync_cli.training.common.recipes import Count, LearningRate, Seed, TrainingRecipe
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.sync.data import SyncBatch, SyncClip, sync_batches


class SyncRecipe(TrainingRecipe):
    """``clips`` stretches of ``frames`` a step; offsets below ``tolerance`` frames count as neither class."""

    training: ClassVar[str] = "sync"

    steps: Count = 1600
    clips: Count = 24
    frames: Annotated[int, Field(ge=WINDOW_FRAMES)] = 28
    learning_rate: LearningRate = 1e-3
    warmup: Count = 100
    tolerance: Count = 2
    seed: Seed = 0
    save_every: Count = 200


class SyncLearner(nn.Module):
    """The expert and the inverse temperature of its contrastive loss, which only training needs."""

    def __init__(self, config: SyncConfig | None = None) -> None:
        super().__init__()
        self.expert = SyncMini(config)
        self.log_sharpness = nn.Parameter(torch.tensor(2.3))


@dataclass(frozen=True, slots=True)
class SyncLosses:
    """``matching`` is StableSyncNet's, ``choice`` the cross entropy over offsets; ``hit`` its accuracy."""

    matching: Tensor
    choice: Tensor
    hit: Tensor


def sync_losses(picture: Tensor, sound: Tensor, clip: Tensor, sharpness: Tensor, *, tolerance: int) -> SyncLosses:
    """Losses of unit embeddings ``[b w d]`` of the windows of ``b`` stretches; ``clip`` ``[b]`` is their clips."""
    w, device = picture.shape[1], picture.device
    within = torch.einsum("bid,bjd->bij", picture, sound)
    at = torch.arange(w, device=device)
    apart = (at[:, None] - at[None]).abs()
    positive, negative = apart == 0, apart >= tolerance
    elsewhere = torch.einsum("aid,bid->abi", picture, sound)[clip[:, None] != clip[None]]
    matching = _minus_log(within[:, positive]) + 0.5 * _minus_log(1 - within[:, negative])
    matching = (matching + 0.5 * _minus_log(1 - elsewhere)) / 2
    logits = offset_logits(within, sharpness, tolerance=tolerance)
    hit = (logits.argmax(1) == at).float().mean()
    return SyncLosses(matching, contrastive_loss(logits), hit)


def _minus_log(probability: Tensor) -> Tensor:
    if not probability.numel():
        return probability.new_zeros(())
    return -probability.clamp(1e-4, 1).log().mean()


def train_expert(
    clips: list[SyncClip],
    recipe: SyncRecipe,
    folder: Path,
    *,
    config: SyncConfig | None = None,
    on_save: Callable[[SyncMini, int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> SyncMini:
    """Run the stage, resuming from ``folder``; returns an expert with the averaged weights.

    Batches, dropout and all else depend on (seed, step) alone. ``deadline`` (monotonic seconds) ends it early. Of
    several processes each compares the clips of its own share of the batch.
    """
    torch.manual_seed(recipe.seed)
    learner = SyncLearner(config)
    runtime.place(learner.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(learner.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)

    def advance(step: int) -> Values:
        losses = _losses(learner, clips, recipe, step, runtime)
        ramp = min(1, (step + 1) / recipe.warmup) * (0.02 + 0.98 * (1 - step / recipe.steps))
        descend(optimiser, losses.matching + losses.choice, recipe.learning_rate * ramp, runtime=runtime)
        figures = {"matching": losses.matching, "choice": losses.choice, "hit": losses.hit}
        return {name: value.detach() for name, value in figures.items()}

    def saved(averaged: SyncLearner, step: int) -> None:
        if on_save is not None:
            on_save(averaged.expert, step)

    pace = Pace(recipe.steps, recipe.save_every, log_every=20, average=0.995, ramp=1, deadline=deadline)
    return run_stage(
        folder, {"learner": learner}, {"learner": optimiser}, advance, pace,
        result=learner, on_save=saved, runtime=runtime,
    ).expert  # fmt: skip


def _losses(
    learner: SyncLearner, clips: list[SyncClip], recipe: SyncRecipe, step: int, runtime: Runtime
) -> SyncLosses:
    seed = step_seed(recipe.seed, step)

    def make(seed: int, size: int) -> SyncBatch:
        return next(sync_batches(clips, size=size, frames=recipe.frames, seed=seed))

    batch = runtime.draw(make, seed=seed, size=recipe.clips)
    learner.train()
    # Dropout is drawn where it is applied, so that unlike everything else it depends on the kind of device.
    with torch.random.fork_rng([runtime.device] if runtime.device.type == "cuda" else []), runtime.autocast():
        torch.manual_seed(part_seed(seed, runtime.own_parts[0]))
        picture, sound = learner.expert.picture(batch.mouths), learner.expert.sound(batch.mel)
    picture, sound = picture.float(), sound.float()
    sharpness = learner.log_sharpness.exp().clamp(max=50)
    return sync_losses(picture, sound, batch.clip, sharpness, tolerance=recipe.tolerance)
