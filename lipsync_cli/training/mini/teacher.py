"""Stage: the bidirectional teacher, by flow matching over windows with dropped sound.

It attends to the whole window at every step and may take fifty of them, so it is what the two-step causal student is
distilled from. Dropping the sound of some sequences makes classifier-free guidance possible.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lipsync_cli.engines.mini.nn.flow_backbone import FlowConfig
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.training.common.loop import Pace, Values, descend, learning_rate, run_stage
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.common.recipes import Count, CountOrNone, LearningRate, Recipe, Seed, Share
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.mini.latents import FlowBatch, LatentClip, WindowFrames, batch_at, clip_pools


class TeacherRecipe(Recipe):
    """Sizes and rates. ``dropped`` is the share of sequences without sound, for classifier-free guidance."""

    steps: Count = 2500
    batch: Count = 16
    frames: WindowFrames = (28, 48)
    references: Count = 3
    width: Count = 128
    layers: Count = 5
    heads: Count = 4
    learning_rate: LearningRate = 1e-3
    warmup: CountOrNone = 100
    dropped: Share = 0.12
    seed: Seed = 0
    save_every: Count = 250

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
    with_sound = (noises.uniform((b, 1, 1)) >= dropped).float()
    velocity = network(noisy, t, network.audio(batch.audio) * with_sound, references)
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
    pools = clip_pools(clips, recipe.frames)

    def advance(step: int) -> Values:
        batch = batch_at(pools, recipe.seed, step, size=recipe.batch, references=recipe.references, runtime=runtime)
        with runtime.autocast():
            loss = window_loss(network, batch, recipe.dropped, runtime.noise(recipe.seed + step))
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=recipe.warmup)
        descend(optimiser, loss, rate, runtime=runtime)
        return {"loss": loss.detach()}

    pace = Pace(recipe.steps, recipe.save_every, deadline=deadline)
    return run_stage(
        folder, {"network": network}, {"network": optimiser}, advance, pace,
        result=network, on_save=on_save, runtime=runtime,
    )  # fmt: skip
