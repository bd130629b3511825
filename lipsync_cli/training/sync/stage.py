"""The sync expert's stage: pictures and sound of one moment against those of other moments.

StableSyncNet's loss, −log cos for what belongs together and −log (1 − cos) for what does not, half and half. At the
few dozen clips a step that two cores can do, that loss alone stays at ln 2 for long (LatentSync 4 saw the same below
256 pairs). So each step compares every window of a stretch with every other, hard negatives two frames apart and up,
and adds a choice among all shifts (the multi-way matching of Chung, Chung and Kang 2019, "Perfect match").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lipsync_cli.nn.sync.sync_mini import SyncConfig, SyncMini
from lipsync_cli.training.common.loop import Pace, Stage, Values, descend, with_weights
from lipsync_cli.training.common.noise import part_seed
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.sync.data import SyncBatch, SyncClip, sync_batches
from lipsync_cli.training.sync.shift_loss import choice_loss, shift_logits


@dataclass(frozen=True, slots=True)
class SyncRecipe:
    """``clips`` stretches of ``frames`` a step; shifts below ``tolerance`` frames are neither right nor wrong."""

    steps: int = 1600
    clips: int = 24
    frames: int = 28
    learning_rate: float = 1e-3
    warmup: int = 100
    tolerance: int = 2
    seed: int = 0
    save_every: int = 200


class SyncLearner(nn.Module):
    """The expert and the sharpness of its choice among shifts, which only training needs."""

    def __init__(self, config: SyncConfig | None = None) -> None:
        super().__init__()
        self.expert = SyncMini(config)
        self.log_sharpness = nn.Parameter(torch.tensor(2.3))


@dataclass(frozen=True, slots=True)
class SyncLosses:
    """``matching`` is StableSyncNet's, ``choice`` the cross-entropy over shifts; ``hit`` the share chosen right."""

    matching: Tensor
    choice: Tensor
    hit: Tensor


def sync_losses(picture: Tensor, sound: Tensor, clip: Tensor, sharpness: Tensor, *, tolerance: int) -> SyncLosses:
    """Losses of unit embeddings ``[b w d]`` of the windows of ``b`` stretches; ``clip`` ``[b]`` is whose."""
    w, device = picture.shape[1], picture.device
    within = torch.einsum("bid,bjd->bij", picture, sound)
    at = torch.arange(w, device=device)
    apart = (at[:, None] - at[None]).abs()
    right, wrong = apart == 0, apart >= tolerance
    elsewhere = torch.einsum("aid,bid->abi", picture, sound)[clip[:, None] != clip[None]]
    matching = _minus_log(within[:, right]) + 0.5 * _minus_log(1 - within[:, wrong])
    matching = (matching + 0.5 * _minus_log(1 - elsewhere)) / 2
    logits = shift_logits(within, sharpness, tolerance=tolerance)
    hit = (logits.argmax(1) == at).float().mean()
    return SyncLosses(matching, choice_loss(logits), hit)


def _minus_log(probability: Tensor) -> Tensor:
    if not probability.numel():
        return probability.new_zeros(())
    return -probability.clamp(1e-4, 1).log().mean()


def train(
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
    stage = Stage(folder, {"learner": learner}, {"learner": optimiser}, averaged="learner", runtime=runtime)

    def advance(step: int) -> Values:
        losses = _losses(learner, clips, recipe, step, runtime)
        pace = min(1, (step + 1) / recipe.warmup) * (0.02 + 0.98 * (1 - step / recipe.steps))
        descend(optimiser, losses.matching + losses.choice, recipe.learning_rate * pace, runtime=runtime)
        figures = {"matching": losses.matching, "choice": losses.choice, "hit": losses.hit}
        return {name: value.detach() for name, value in figures.items()}

    def saved(step: int) -> None:
        if on_save is not None:
            on_save(with_weights(learner, stage.average).expert, step)

    pace = Pace(recipe.steps, recipe.save_every, log_every=20, average=0.995, ramp=1, deadline=deadline)
    return with_weights(learner, stage.run(advance, pace, on_save=saved)).expert


def _losses(
    learner: SyncLearner, clips: list[SyncClip], recipe: SyncRecipe, step: int, runtime: Runtime
) -> SyncLosses:
    seed = recipe.seed * 1_000_003 + step

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
