"""The sync expert's stage: pictures and sound of one moment against those of other moments.

StableSyncNet's loss, −log cos for what belongs together and −log (1 − cos) for what does not, half and half. At the
few dozen clips a step that two cores can do, that loss alone stays at ln 2 for long (LatentSync §4 saw the same below
256 pairs). So each step compares every window of a stretch with every other, hard negatives two frames apart and up,
and adds a choice among all shifts (the multi-way matching of Chung, Chung and Kang 2019, "Perfect match").
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.nn.sync_net import SyncConfig, SyncMini
from lipsync_cli.train.sync_data import SyncBatch, SyncClip, sync_batches


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
    b, w, _ = picture.shape
    within = torch.einsum("bid,bjd->bij", picture, sound)
    apart = (torch.arange(w)[:, None] - torch.arange(w)[None]).abs()
    right, wrong = apart == 0, apart >= tolerance
    elsewhere = torch.einsum("aid,bid->abi", picture, sound)[clip[:, None] != clip[None]]
    matching = _minus_log(within[:, right]) + 0.5 * _minus_log(1 - within[:, wrong])
    matching = (matching + 0.5 * _minus_log(1 - elsewhere)) / 2
    logits = (sharpness * within).masked_fill(~(right | wrong), -torch.inf)
    target = torch.arange(w).expand(b, w)
    choice = F.cross_entropy(logits, target) + F.cross_entropy(logits.transpose(1, 2), target)
    hit = (logits.argmax(1) == target).float().mean()
    return SyncLosses(matching, choice / 2, hit)


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
    on_save: Callable[[SyncMini, int], None] = lambda expert, step: None,
    deadline: float | None = None,
) -> SyncMini:
    """Run the stage, resuming from ``folder/sync.pt``; returns an expert with the averaged weights.

    Batches, dropout and all else depend on (seed, step) alone. ``deadline`` (monotonic seconds) ends it early.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    learner = SyncLearner(config)
    learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(learner.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    average = {key: value.clone() for key, value in learner.state_dict().items()}
    checkpoint, first = folder / "sync.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        learner.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        average, first = saved["average"], saved["step"]
    began, done = time.monotonic(), first
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(first, recipe.steps):
            if deadline is not None and time.monotonic() > deadline:
                break
            losses = _step(learner, optimiser, clips, recipe, step)
            done = step + 1
            _follow(average, learner.state_dict(), max(0.005, 1 / (step + 2)))
            if step % 20 == 0:
                figures = {"matching": losses.matching, "choice": losses.choice, "hit": losses.hit}
                row = {"step": step, "s": round(time.monotonic() - began)}
                log.write(
                    json.dumps(row | {name: round(float(value.detach()), 4) for name, value in figures.items()})
                )
                log.write("\n")
                log.flush()
            if done % recipe.save_every == 0:
                _save(checkpoint, learner, average, optimiser, done)
                on_save(_averaged(learner, average), done)
    _save(checkpoint, learner, average, optimiser, done)
    return _averaged(learner, average)


def _step(
    learner: SyncLearner, optimiser: torch.optim.Optimizer, clips: list[SyncClip], recipe: SyncRecipe, step: int
) -> SyncLosses:
    seed = recipe.seed * 1_000_003 + step
    batch: SyncBatch = next(sync_batches(clips, size=recipe.clips, frames=recipe.frames, seed=seed))
    learner.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        picture, sound = learner.expert.picture(batch.mouths), learner.expert.sound(batch.mel)
    sharpness = learner.log_sharpness.exp().clamp(max=50)
    losses = sync_losses(picture, sound, batch.clip, sharpness, tolerance=recipe.tolerance)
    optimiser.zero_grad(set_to_none=True)
    (losses.matching + losses.choice).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    pace = min(1, (step + 1) / recipe.warmup) * (0.02 + 0.98 * (1 - step / recipe.steps))
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * pace
    optimiser.step()
    return losses


@torch.no_grad()
def _follow(average: dict[str, Tensor], now: dict[str, Tensor], share: float) -> None:
    for key, value in now.items():
        if value.is_floating_point():
            average[key].lerp_(value, share)
        else:
            average[key].copy_(value)


def _averaged(learner: SyncLearner, average: dict[str, Tensor]) -> SyncMini:
    result = SyncMini(learner.expert.config)
    prefix = "expert."
    result.load_state_dict({k.removeprefix(prefix): v for k, v in average.items() if k.startswith(prefix)})
    return result.eval()


def _save(
    path: Path, learner: SyncLearner, average: dict[str, Tensor], optimiser: torch.optim.Optimizer, step: int
) -> None:
    state = {"model": learner.state_dict(), "average": average, "optimiser": optimiser.state_dict(), "step": step}
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)
