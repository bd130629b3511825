"""Stage: OmniSync's transformer, by flow matching over pairs of windows that depend on the noise level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.nn.transformer import OmniCondition, OmniSyncTransformer
from lipsync_cli.engines.omnisync.noise_start import noised
from lipsync_cli.training.common.loop import Pace, Values, descend, learning_rate, run_stage
from lipsync_cli.training.common.noise import Noise, step_seed
from lipsync_cli.training.common.recipes import (
    Count,
    CountOrNone,
    LearningRate,
    Momentum,
    Seed,
    TrainingRecipe,
    Weight,
)
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.omnisync.data import EditBatch, EncodedClip, edit_batch
from lipsync_cli.training.omnisync.pairing import ConditionDropout, PairingRule, PairSampler, SigmaDensity


class OmniSyncRecipe(TrainingRecipe):
    """What is trained and how. ``base`` is a model whose card names the encoders and the sizes; ``generator`` changes
    or, without a base, is its table.

    ``average`` is the highest momentum of the mean weights; ``recompute`` saves memory for time; ``preview_steps``
    are those of the sample grids, 0 for none. Optimiser, batch and steps of the defaults are the paper's; it is
    silent about warm-up, averaging, the density of σ and dropout.
    """

    training: ClassVar[str] = "omnisync"

    base: str = ""
    generator: dict[str, Any] = Field(default_factory=dict)
    steps: Count = 80_000
    batch: Count = 64
    learning_rate: LearningRate = 1e-5
    weight_decay: Weight = 0.01
    warmup: CountOrNone = 1000
    average: Momentum = 0.9999
    density: SigmaDensity = SigmaDensity()
    pairing: PairingRule = PairingRule()
    dropout: ConditionDropout = ConditionDropout()
    recompute: bool = False
    open_only: bool = False
    preview_steps: CountOrNone = 20
    seed: Seed = 0
    save_every: Count = 500


def edit_losses(network: OmniSyncTransformer, batch: EditBatch, text: Tensor | None, noises: Noise) -> Tensor:
    """Mean squared error ``[b]`` of the velocity ε − z of each sample at its own σ."""
    noise = noises.normal(batch.target.shape)
    noisy = noised(batch.target, noise, batch.sigma.view(-1, 1, 1, 1, 1))
    condition = OmniCondition(batch.source, batch.audio, text, batch.with_audio, batch.with_text)
    velocity = network(noisy, batch.sigma, condition)
    losses: Tensor = (velocity.float() - (noise - batch.target)).pow(2).flatten(1).mean(1)
    return losses


def train_transformer(
    network: OmniSyncTransformer,
    clips: Sequence[EncodedClip],
    text: Tensor | None,
    recipe: OmniSyncRecipe,
    config: OmniSyncConfig,
    folder: Path,
    *,
    on_save: Callable[[OmniSyncTransformer, int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> OmniSyncTransformer:
    """Run the stage, resuming from ``folder``; returns a network with the averaged weights.

    The log has the mean loss, σ's threshold, and the shares of pseudo-pairs and of those that were not found.
    """
    runtime.place(network)
    network.recompute = recipe.recompute
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    pairs = PairSampler([clip.pair for clip in clips], config.window, recipe.pairing, recipe.density)
    prompt = None if text is None else text.to(runtime.device)

    def make(seed: int, size: int) -> EditBatch:
        return edit_batch(clips, pairs, recipe.density, recipe.dropout, config.window, seed=seed, size=size)

    def advance(step: int) -> Values:
        batch = runtime.draw(make, seed=step_seed(recipe.seed, step), size=recipe.batch)
        with runtime.autocast():
            losses = edit_losses(network, batch, prompt, runtime.noise(recipe.seed + step))
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=recipe.warmup)
        descend(optimiser, losses.mean(), rate, runtime=runtime)
        return {
            "loss": losses.detach().mean(),
            "threshold": pairs.threshold,
            "aligned": batch.aligned.float().mean(),
            "missed": batch.missed.float().mean(),
        }

    pace = Pace(recipe.steps, recipe.save_every, average=recipe.average, deadline=deadline)
    return run_stage(
        folder, {"network": network}, {"network": optimiser}, advance, pace,
        result=network, on_save=on_save, runtime=runtime,
    )  # fmt: skip
