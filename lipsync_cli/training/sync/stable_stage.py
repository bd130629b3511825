"""StableSyncNet's own stage, as LatentSync 4 trains it: −log cos for windows that belong together, −log (1 − cos)
for windows of the same clip that do not.

That loss says ln 2 = 0.693 as long as nothing is learnt, which with small batches can be for ever (batches of 128
never left it, those of 1024 did best). A batch larger than the memory is added up from parts: nothing in the network
looks at other windows of the batch, so the sum is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.nn.sync.stable_syncnet import CONFIGS, StableSyncConfig, StableSyncNet
from lipsync_cli.training.common.loop import Pace, Stage, Values, descend_accumulated
from lipsync_cli.training.common.noise import part_seed
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.sync.stable_data import AlignedClip, Pair, draw_pairs, load_pairs

CERTAIN = 1e-6
"""How near to 0 and 1 a probability may come, so that −log stays finite and has a gradient that float32 can hold."""


@dataclass(frozen=True, slots=True)
class StableSyncRecipe:
    """``batch`` pairs a step, at most ``at_once`` of them in memory; foreign sound is at least ``apart`` frames off.

    Rate and batch are LatentSync's. ``average`` is the momentum of the mean weights, 0 for the last ones.
    """

    config: str = "16_pixel_attn"
    steps: int = 100_000
    batch: int = 256
    at_once: int = 16
    learning_rate: float = 1e-5
    apart: int = 1
    average: float = 0.0
    checkpointing: bool = False
    seed: int = 42
    save_every: int = 2500
    log_every: int = 25
    checked: int = 2048


@dataclass(frozen=True, slots=True)
class PairCheck:
    """Mean loss, the share told right at cosine ½, and the mean cosine of what belongs together and what does not."""

    loss: float
    accuracy: float
    matched: float
    unmatched: float


def matching_loss(cosine: Tensor, matched: Tensor) -> Tensor:
    """Mean −log of the probability ``[b]`` given to what is so; ``matched`` ``[b]`` is 1 or 0."""
    return F.binary_cross_entropy(cosine.float().clamp(CERTAIN, 1 - CERTAIN), matched)


def new_network(recipe: StableSyncRecipe, config: StableSyncConfig | None = None) -> StableSyncNet:
    """The network before training, with seeded weights; ``config`` replaces the recipe's named one."""
    torch.manual_seed(recipe.seed)
    return StableSyncNet(config or CONFIGS[recipe.config], checkpointing=recipe.checkpointing)


def train(
    network: StableSyncNet,
    clips: Sequence[AlignedClip],
    recipe: StableSyncRecipe,
    folder: Path,
    *,
    on_save: Callable[[dict[str, Tensor], int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> tuple[dict[str, Tensor], int]:
    """Run the stage, resuming from ``folder``; returns the (averaged) weights and how many steps they have seen.

    Pairs depend on (seed, step) alone. ``deadline`` (monotonic seconds) ends it early. ``on_save`` gets the weights.
    """
    runtime.place(network)
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)
    averaged = "network" if recipe.average else None
    stage = Stage(folder, {"network": network}, {"network": optimiser}, averaged=averaged, runtime=runtime)

    def advance(step: int) -> Values:
        pairs = _own_pairs(clips, recipe, network.config.frames, step, runtime)
        figures = torch.zeros(2, device=runtime.device)

        def part(first: int) -> Tensor:
            own = pairs[first : first + recipe.at_once]
            cosine, matched = compare(network, clips, own, runtime)
            loss = matching_loss(cosine, matched) * (len(own) / len(pairs))
            right = ((cosine > 0.5) == (matched > 0.5)).float().sum() / len(pairs)
            figures.add_(torch.stack([loss.detach(), right]))
            return loss

        parts = (part(first) for first in range(0, len(pairs), recipe.at_once))
        norm = descend_accumulated(optimiser, parts, recipe.learning_rate, runtime=runtime)
        return {"loss": figures[0], "accuracy": figures[1], "gradient": norm}

    def saved(step: int) -> None:
        if on_save is not None:
            on_save(stage.average or network.state_dict(), step)

    pace = Pace(recipe.steps, recipe.save_every, recipe.log_every, recipe.average, deadline=deadline)
    return stage.run(advance, pace, on_save=saved) or network.state_dict(), stage.step


def compare(
    network: StableSyncNet, clips: Sequence[AlignedClip], pairs: Sequence[Pair], runtime: Runtime = ALONE
) -> tuple[Tensor, Tensor]:
    """Cosines ``[b]`` of pairs, and 1 or 0 ``[b]`` for whether they belong together; on the device."""
    batch = load_pairs(clips, pairs, network.config)
    pictures, mels, matched = (column.to(runtime.device) for column in batch)
    with runtime.autocast():
        cosine = network(pictures.float() / 127.5 - 1, mels)
    return cosine, matched


@torch.no_grad()
def check_pairs(
    network: StableSyncNet, clips: Sequence[AlignedClip], recipe: StableSyncRecipe, runtime: Runtime = ALONE
) -> PairCheck:
    """Measure on ``recipe.checked`` pairs that are always the same, or on as many as there are windows."""
    frames = network.config.frames
    count = min(recipe.checked, sum(len(clip.halves) - frames + 1 for clip in clips))
    pairs = draw_pairs(clips, count, recipe.seed, frames=frames, apart=recipe.apart)
    parts = [pairs[first : first + recipe.at_once] for first in range(0, len(pairs), recipe.at_once)]
    found = [compare(network, clips, part, runtime) for part in parts]
    cosine, matched = (torch.cat(column).cpu() for column in zip(*found, strict=True))
    right = (cosine > 0.5) == (matched > 0.5)
    return PairCheck(
        float(matching_loss(cosine, matched)), float(right.float().mean()),
        float(cosine[matched > 0.5].mean()), float(cosine[matched < 0.5].mean()),
    )  # fmt: skip


def _own_pairs(
    clips: Sequence[AlignedClip], recipe: StableSyncRecipe, frames: int, step: int, runtime: Runtime
) -> list[Pair]:
    """This process's share of a step's pairs."""
    seed, size = recipe.seed * 1_000_003 + step, recipe.batch // runtime.parts
    drawn = (
        draw_pairs(clips, size, part_seed(seed, part), frames=frames, apart=recipe.apart)
        for part in runtime.own_parts
    )
    return [pair for part in drawn for pair in part]
