"""Stage: the bidirectional teacher, by flow matching over windows with dropped sound.

It sees the whole window at every step and may take fifty of them, so it is what the two-step causal student is
distilled from. Dropping the sound now and then is what makes guidance possible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lipsync_cli.engines.mini.nn.flow_backbone import FlowConfig
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.training.common.loop import Pace, Stage, Values, descend, learning_rate, with_weights
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.mini.latents import FlowBatch, LatentClip, batch_at, long_enough


@dataclass(frozen=True, slots=True)
class TeacherRecipe:
    """Sizes and rates. ``dropped`` is the share of sequences without sound."""

    steps: int = 2500
    batch: int = 16
    frames: tuple[int, ...] = (28, 48)
    references: int = 3
    width: int = 128
    layers: int = 5
    heads: int = 4
    learning_rate: float = 1e-3
    warmup: int = 100
    dropped: float = 0.12
    seed: int = 0
    save_every: int = 250

    def config(self, latent: int) -> FlowConfig:
        """Sizes of the network: distances are told apart over the longest window."""
        longest = max(self.frames)
        return FlowConfig(latent, self.width, self.layers, self.heads, chunk=4, window=longest)


def window_loss(network: WindowFlow, batch: FlowBatch, dropped: float, noises: Noise) -> Tensor:
    """Mean squared error of the velocity at one uniform time per sequence."""
    clean, references = network.normalise(batch.z), network.normalise(batch.references)
    b = len(clean)
    t = noises.uniform((b,)).clamp(0.001, 0.999)
    noise = noises.normal(clean.shape)
    noisy = torch.lerp(clean, noise, t[:, None, None])
    heard = (noises.uniform((b, 1, 1)) >= dropped).float()
    velocity = network(noisy, t, network.audio(batch.audio) * heard, references)
    loss: Tensor = (velocity - (noise - clean)).pow(2).mean()
    return loss


def train_teacher(
    network: WindowFlow,
    clips: list[LatentClip],
    recipe: TeacherRecipe,
    folder: Path,
    *,
    on_save: Callable[[WindowFlow, int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> WindowFlow:
    """Run the stage, resuming from ``folder``; returns a network with the averaged weights."""
    runtime.place(network)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    stage = Stage(folder, {"network": network}, {"network": optimiser}, averaged="network", runtime=runtime)
    pools = [long_enough(clips, frames) for frames in recipe.frames]

    def advance(step: int) -> Values:
        batch = batch_at(pools, recipe.seed, step, size=recipe.batch, references=recipe.references, runtime=runtime)
        with runtime.autocast():
            loss = window_loss(network, batch, recipe.dropped, runtime.noise(recipe.seed + step))
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=recipe.warmup)
        descend(optimiser, loss, rate, runtime=runtime)
        return {"loss": loss.detach()}

    def saved(step: int) -> None:
        if on_save is not None:
            on_save(with_weights(network, stage.average), step)

    pace = Pace(recipe.steps, save_every=recipe.save_every, deadline=deadline)
    return with_weights(network, stage.run(advance, pace, on_save=saved))
