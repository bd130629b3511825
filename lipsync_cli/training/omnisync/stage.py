"""Stage: OmniSync's transformer, by flow matching over pairs of windows that depend on the noise level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.nn.transformer import OmniCondition, OmniSyncTransformer
from lipsync_cli.engines.omnisync.noise_start import noised
from lipsync_cli.training.common.loop import Pace, Stage, Values, descend, learning_rate, with_weights
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.mini.recipe import checked_recipe, find_recipe
from lipsync_cli.training.omnisync.data import EditBatch, EncodedClip, edit_batch
from lipsync_cli.training.omnisync.pairing import Dropout, PairingRule, Pairs, SigmaDensity

RECIPES = "omnisync"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OmniSyncRecipe:
    """What is trained and how. ``base`` is a model whose card names the encoders and the sizes; ``generator`` changes
    or, without a base, is its table.

    ``average`` is the highest momentum of the mean weights; ``recompute`` saves memory for time; ``preview_steps``
    are those of the sample grids, 0 for none. Optimiser, batch and steps of the defaults are the paper's; it is
    silent about warm-up, averaging, the density of σ and dropout.
    """

    base: str = ""
    generator: dict[str, Any] = field(default_factory=dict)
    steps: int = 80_000
    batch: int = 64
    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    warmup: int = 1000
    average: float = 0.9999
    density: SigmaDensity = field(default_factory=SigmaDensity)
    pairing: PairingRule = field(default_factory=PairingRule)
    dropout: Dropout = field(default_factory=Dropout)
    recompute: bool = False
    open_only: bool = False
    preview_steps: int = 20
    seed: int = 0
    save_every: int = 500


def load_omnisync_recipe(name_or_file: str) -> OmniSyncRecipe:
    """A recipe of presets/omnisync by name, or a TOML file; UsageError names what is wrong with it."""
    return checked_recipe(OmniSyncRecipe, *find_recipe(name_or_file, RECIPES))


def edit_losses(network: OmniSyncTransformer, batch: EditBatch, text: Tensor | None, noises: Noise) -> Tensor:
    """Mean squared error ``[b]`` of the velocity ε − z of each sample at its own σ."""
    noise = noises.normal(batch.target.shape)
    noisy = noised(batch.target, noise, batch.sigma.view(-1, 1, 1, 1, 1))
    condition = OmniCondition(batch.source, batch.audio, text, batch.heard, batch.read)
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

    The log has the mean loss, σ's threshold, and the shares of pseudo-pairs and of those that were wanted in vain.
    """
    runtime.place(network)
    network.recompute = recipe.recompute
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    stage = Stage(folder, {"network": network}, {"network": optimiser}, averaged="network", runtime=runtime)
    pairs = Pairs([clip.pair for clip in clips], config.window, recipe.pairing, recipe.density)
    prompt = None if text is None else text.to(runtime.device)

    def make(seed: int, size: int) -> EditBatch:
        return edit_batch(clips, pairs, recipe.density, recipe.dropout, config.window, seed=seed, size=size)

    def advance(step: int) -> Values:
        batch = runtime.draw(make, seed=recipe.seed * 1_000_003 + step, size=recipe.batch)
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

    def saved(step: int) -> None:
        if on_save is not None:
            on_save(with_weights(network, stage.average), step)

    pace = Pace(recipe.steps, save_every=recipe.save_every, average=recipe.average, deadline=deadline)
    return with_weights(network, stage.run(advance, pace, on_save=saved))
