"""Stage: the causal flow over mouth states, by teacher forcing on real sequences.

Every chunk is denoised given the clean states before it, slightly disturbed, because at run time they will be the
network's own. Some of the times t are those of the run-time schedule, the rest uniform.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.flow_backbone import FlowBackbone, FlowConfig
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.engines.rollout import chunk_noise, roll_chunk
from lipsync_cli.training.common.loop import Pace, Values, descend, learning_rate, run_stage
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.common.recipes import (
    Count,
    CountOrNone,
    LearningRate,
    Recipe,
    Schedule,
    Seed,
    Share,
    Weight,
)
from lipsync_cli.training.common.runtime import ALONE, Runtime, device_of
from lipsync_cli.training.dataset.loader import choose_references
from lipsync_cli.training.mini.latents import FlowBatch, LatentClip, audio_windows, batch_at, clip_pools

IDENTITY_ERROR = 0.1
"""ρ: variance of the error in the direction of other people, as a share of the variance between people."""


class CausalRecipe(Recipe):
    """Sizes and rates of the stage. ``frames`` alternates between short and long windows.

    ``scheduled`` is the share of chunks at a time of ``schedule``; ``context_noise`` the most that is added to the
    clean states before a chunk, ``noise`` the standard deviation of what states are mixed with: at 0, with every
    chunk at time 1, the stage is the regression that the flow is compared with (``regression``).
    """

    steps: Count = 1800
    batch: Count = 16
    frames: tuple[Count, Count] = (28, 48)
    references: Count = 3
    learning_rate: LearningRate = 1e-3
    warmup: CountOrNone = 200
    schedule: Schedule = (0.999, 0.769)
    scheduled: Share = 0.5
    context_noise: Weight = 0.25
    noise: Weight = 1.0
    seed: Seed = 0
    save_every: Count = 500


def regression(recipe: CausalRecipe) -> CausalRecipe:
    """The same stage for a network that predicts the mean of the states given the sound, in one step from zeros.

    Its time is exactly 1: any trace of the states would be learnt from where no noise hides it.
    """
    return recipe.replaced(schedule=(1.0,), scheduled=1.0, noise=0.0)


def fit_normalisation(
    network: CausalFlow, clips: list[LatentClip], encoder: MouthEncoder, *, units: FlowBackbone | None = None
) -> None:
    """Set the latent statistics: mean, spread, ``rest``, ``opening`` and ``liberty``.

    Mean and spread are those of ``units`` where it is given, since weights that were learnt in them mean nothing in
    others.
    ``rest`` is the mean state of frames whose lips are closed, ``opening`` the regression of state on aperture.
    ``liberty`` is W / (W + ρ·B) of the covariances within clips and between speakers: the Wiener filter of a state
    whose deviation from the references is speech, under an error in the direction of other people.
    """
    z = torch.cat([clip.z for clip in clips])
    network.latent_mean.copy_(z.mean(0) if units is None else units.latent_mean)
    network.latent_std.copy_(z.std(0).clamp_min(1e-3) if units is None else units.latent_std)
    with torch.no_grad():
        aperture = encoder.aperture(z.to(device_of(encoder))).cpu()
    network.rest.copy_(z[aperture <= aperture.quantile(0.1)].mean(0))
    apart = aperture - aperture.mean()
    network.opening.copy_(((z - z.mean(0)) * apart[:, None]).mean(0) / apart.pow(2).mean().clamp_min(1e-9))
    network.liberty.copy_(_liberty(network, clips))


def _liberty(network: CausalFlow, clips: list[LatentClip]) -> Tensor:
    states = [network.normalise(clip.z) for clip in clips]
    apart = torch.cat([x - x.mean(0) for x in states])
    within = apart.T @ apart / len(apart) + 1e-6 * torch.eye(apart.shape[1])
    means = defaultdict(list)
    for clip, x in zip(clips, states, strict=True):
        means[clip.speaker].append(x.mean(0))
    people = torch.stack([torch.stack(own).mean(0) for own in means.values()])
    between = torch.cov(people.T) if len(people) > 1 else torch.zeros_like(within)
    liberty: Tensor = within @ torch.linalg.inv(within + IDENTITY_ERROR * between)
    return liberty


def flow_loss(network: CausalFlow, batch: FlowBatch, recipe: CausalRecipe, noises: Noise) -> Tensor:
    """Mean squared error of the velocity, per chunk-wise time."""
    clean, references = network.normalise(batch.z), network.normalise(batch.references)
    b, n, _ = clean.shape
    chunk = network.config.chunk
    t = _times(b, n // chunk, recipe, noises).repeat_interleave(chunk, 1)
    noise = recipe.noise * noises.normal(clean.shape)
    noisy = (1 - t[..., None]) * clean + t[..., None] * noise
    level = recipe.context_noise * noises.uniform((b, 1, 1))
    context = clean + level * noises.normal(clean.shape)
    velocity = network(context, noisy, t, network.audio(batch.audio), references)
    error: Tensor = (velocity - (noise - clean)).pow(2)
    return error.mean()


def _times(b: int, chunks: int, recipe: CausalRecipe, noises: Noise) -> Tensor:
    uniform = noises.uniform((b, chunks)).clamp(0.001, 0.999)
    index = noises.integers(len(recipe.schedule), (b, chunks))
    scheduled = uniform.new_tensor(recipe.schedule)[index]
    return torch.where(noises.uniform((b, chunks)) < recipe.scheduled, scheduled, uniform)


def train_causal(
    network: CausalFlow,
    clips: list[LatentClip],
    recipe: CausalRecipe,
    folder: Path,
    *,
    on_save: Callable[[CausalFlow, int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> CausalFlow:
    """Run the stage, resuming from ``folder``; returns a network with the averaged weights."""
    runtime.place(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    pools = clip_pools(clips, recipe.frames)

    def advance(step: int) -> Values:
        batch = batch_at(pools, recipe.seed, step, size=recipe.batch, references=recipe.references, runtime=runtime)
        with runtime.autocast():
            loss = flow_loss(network, batch, recipe, runtime.noise(recipe.seed + step))
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=recipe.warmup)
        descend(optimiser, loss, rate, runtime=runtime)
        return {"loss": loss.detach()}

    pace = Pace(recipe.steps, recipe.save_every, deadline=deadline)
    return run_stage(
        folder, {"network": network}, {"network": optimiser}, advance, pace,
        result=network, on_save=on_save, runtime=runtime,
    )  # fmt: skip


@torch.no_grad()
def rollout_clip(
    network: CausalFlow,
    clip: LatentClip,
    references: Tensor,
    schedule: tuple[float, ...],
    *,
    temperature: tuple[float, ...] | None = None,
    seed: int = 0,
) -> Tensor:
    """States ``[n d]`` (encoder units) generated from the clip's audio alone, by the run-time rollout."""
    device = device_of(network)
    chunk = network.config.chunk
    count = -(-len(clip.z) // chunk) * chunk
    windows = audio_windows(np.pad(clip.mel, ((0, 4 * chunk), (0, 0)), mode="edge"), 0, count)
    audio = network.audio(windows[None].to(device))
    normalised = network.normalise(references.to(device))[None]
    cache = network.begin(normalised)
    chunks = []
    for first in range(0, count, chunk):
        drawn = chunk_noise(seed, first, chunk, network.config.latent, len(schedule), temperature=temperature)
        noises = [noise.to(device) for noise in drawn]
        chunks.append(roll_chunk(network, cache, audio[:, first : first + chunk], noises, schedule))
    states = network.anchored(torch.cat(chunks, 1), normalised)
    return network.denormalise(states[0])[: len(clip.z)].cpu()


@torch.no_grad()
def validate(
    network: CausalFlow,
    encoder: MouthEncoder,
    clips: list[LatentClip],
    schedule: tuple[float, ...],
    *,
    temperature: tuple[float, ...] | None = None,
) -> dict[str, float]:
    """Aperture correlation with the real lips, aperture spread (generated over real) and state error, clip means."""
    rng = np.random.default_rng(0)
    rows = []
    for clip in clips:
        references = clip.z[torch.from_numpy(choose_references(clip.landmarks[:25], 3, rng))]
        z = rollout_clip(network, clip, references, schedule, temperature=temperature)
        real, generated = (encoder.aperture(states.to(device_of(encoder))).cpu().numpy() for states in (clip.z, z))
        if real.std() < 1e-4 or generated.std() < 1e-6:
            continue
        gap = network.normalise(z.to(device_of(network))) - network.normalise(clip.z.to(device_of(network)))
        error = float(gap.pow(2).mean())
        rows.append((np.corrcoef(real, generated)[0, 1], generated.std() / real.std(), error))
    corr, spread, error = np.mean(rows, axis=0)
    return {"aperture_corr": float(corr), "aperture_spread": float(spread), "state_mse": float(error)}


def new_network(
    config: FlowConfig,
    clips: list[LatentClip],
    encoder: MouthEncoder,
    *,
    seed: int = 0,
    earlier: CausalFlow | None = None,
) -> CausalFlow:
    """A network with the data's statistics and seeded weights, or the weights and units of an ``earlier`` one."""
    torch.manual_seed(seed)
    network = CausalFlow(config)
    if earlier is not None:
        network.load_state_dict(earlier.state_dict())
    fit_normalisation(network, clips, encoder, units=earlier)
    return network
