"""StableSyncNet's own stage, as LatentSync 4 trains it: −log cos for windows that belong together, −log (1 − cos)
for windows of the same clip that do not.

That loss is ln 2 = 0.693 as long as nothing is learnt, which with small batches can be for ever (batches of 128 never
left it, those of 1024 did best). A batch larger than the memory is added up from parts: no layer of the network mixes
windows of a batch, so the sum of gradients is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.nn.sync.stable_syncnet import CONFIGS, StableSyncConfig, StableSyncNet
from lipsync_cli.training.common.loop import Pace, Values, descend_accumulated, run_stage
from lipsync_cli.training.common.noise import part_seed, step_seed
from lipsync_cli.training.common.recipes import Count, LearningRate, Momentum, Seed, TrainingRecipe
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.stable_sync.data import AlignedClip, SyncPair, draw_pairs, load_pairs

PROBABILITY_MARGIN = 1e-6
"""How near to 0 and 1 a probability may come, so that −log stays finite and has a gradient that float32 can hold."""


class StableSyncRecipe(TrainingRecipe):
    """``batch`` pairs a step, at most ``at_once`` of them in memory; negative pairs are at least ``apart`` frames
    off.

    ``config`` is the network's shape. ``average`` is the momentum of the mean weights, 0 for the last ones.
    ``checkpointing`` computes blocks again for the gradient: slower, less memory. ``val_pairs`` held-out pairs
    measure every save.
    """

    training: ClassVar[str] = "stable-sync"

    config: str = "16_pixel_attn"
    steps: Count = 100_000
    batch: Annotated[int, Field(ge=2)] = 256
    at_once: Count = 16
    learning_rate: LearningRate = 1e-5
    apart: Count = 1
    average: Momentum = 0.0
    checkpointing: bool = False
    seed: Seed = 42
    save_every: Count = 2500
    log_every: Count = 25
    val_pairs: Count = 2048


@dataclass(frozen=True, slots=True)
class PairCheck:
    """Mean loss, accuracy at cosine ½, and the mean cosines of positive and of negative pairs."""

    loss: float
    accuracy: float
    matched: float
    unmatched: float


def matching_loss(cosine: Tensor, matched: Tensor) -> Tensor:
    """Binary cross entropy of cosines ``[b]`` as probabilities; ``matched`` ``[b]`` is 1 or 0."""
    return F.binary_cross_entropy(cosine.float().clamp(PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN), matched)


def new_network(recipe: StableSyncRecipe, config: StableSyncConfig | None = None) -> StableSyncNet:
    """The network before training, with seeded weights; ``config`` replaces the recipe's named one."""
    torch.manual_seed(recipe.seed)
    return StableSyncNet(config or CONFIGS[recipe.config], checkpointing=recipe.checkpointing)


def train_network(
    network: StableSyncNet,
    clips: Sequence[AlignedClip],
    recipe: StableSyncRecipe,
    folder: Path,
    *,
    on_save: Callable[[StableSyncNet, int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> StableSyncNet:
    """Run the stage, resuming from ``folder``; returns a network with the (averaged) weights.

    Pairs depend on (seed, step) alone. ``deadline`` (monotonic seconds) ends it early.
    """
    runtime.place(network)
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)

    def advance(step: int) -> Values:
        pairs = _own_pairs(clips, recipe, network.config.frames, step, runtime)
        figures = torch.zeros(2, device=runtime.device)

        def part(first: int) -> Tensor:
            own = pairs[first : first + recipe.at_once]
            cosine, matched = compare(network, clips, own, runtime)
            loss = matching_loss(cosine, matched) * (len(own) / len(pairs))
            accuracy = ((cosine > 0.5) == (matched > 0.5)).float().sum() / len(pairs)
            figures.add_(torch.stack([loss.detach(), accuracy]))
            return loss

        parts = (part(first) for first in range(0, len(pairs), recipe.at_once))
        norm = descend_accumulated(optimiser, parts, recipe.learning_rate, runtime=runtime)
        return {"loss": figures[0], "accuracy": figures[1], "gradient": norm}

    pace = Pace(recipe.steps, recipe.save_every, recipe.log_every, recipe.average, deadline=deadline)
    return run_stage(
        folder, {"network": network}, {"network": optimiser}, advance, pace,
        result=network, on_save=on_save, runtime=runtime,
    )  # fmt: skip


def compare(
    network: StableSyncNet, clips: Sequence[AlignedClip], pairs: Sequence[SyncPair], runtime: Runtime = ALONE
) -> tuple[Tensor, Tensor]:
    """Cosines ``[b]`` of pairs, and ``[b]``: 1 for positive ones, 0 for negative; on the device."""
    batch = load_pairs(clips, pairs, network.config)
    pictures, mels, matched = (column.to(runtime.device) for column in batch)
    with runtime.autocast():
        cosine = network(pictures.float() / 127.5 - 1, mels)
    return cosine, matched


@torch.no_grad()
def check_pairs(
    network: StableSyncNet, clips: Sequence[AlignedClip], recipe: StableSyncRecipe, runtime: Runtime = ALONE
) -> PairCheck:
    """Measure on ``recipe.val_pairs`` pairs that are always the same, or on as many as there are windows."""
    frames = network.config.frames
    count = min(recipe.val_pairs, sum(len(clip.halves) - frames + 1 for clip in clips))
    pairs = draw_pairs(clips, count, recipe.seed, frames=frames, apart=recipe.apart)
    parts = [pairs[first : first + recipe.at_once] for first in range(0, len(pairs), recipe.at_once)]
    compared = [compare(network, clips, part, runtime) for part in parts]
    cosine, matched = (torch.cat(column).cpu() for column in zip(*compared, strict=True))
    correct = (cosine > 0.5) == (matched > 0.5)
    return PairCheck(
        float(matching_loss(cosine, matched)), float(correct.float().mean()),
        float(cosine[matched > 0.5].mean()), float(cosine[matched < 0.5].mean()),
    )  # fmt: skip


def _own_pairs(
    clips: Sequence[AlignedClip], recipe: StableSyncRecipe, frames: int, step: int, runtime: Runtime
) -> list[SyncPair]:
    """This process's share of a step's pairs."""
    seed, size = step_seed(recipe.seed, step), recipe.batch // runtime.parts
    drawn = (
        draw_pairs(clips, size, part_seed(seed, part), frames=frames, apart=recipe.apart)
        for part in runtime.own_parts
    )
    return [pair for part in drawn for pair in part]
