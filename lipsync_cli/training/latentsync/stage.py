"""LatentSync's training loop (Li et al. 2024, arXiv 2412.09262) around any UNet and VAE of its shapes.

The UNet gets a noised window, the mask, the window with its mouth masked and another window of the same clip, and
predicts the noise. From stage 2 on the clean latent that follows from the prediction is decoded, for the losses of
sync expert, LPIPS and TREPA. Latents are the mean of the VAE's posterior, not a sample: less noise, and nothing to
seed.

A library, not a command: nothing here loads LatentSync's own networks or makes batches from prepared clips, and it
was run with networks of its shapes, not at its size. Today it is run from Python, with what the caller brings::

    networks = LossNetworks(vae, sync=stable_syncnet, lpips=lpips_vgg, trepa=video_mae)
    recipe = LatentSyncRecipe(stage="stage2", steps=1000)
    steps = train_latentsync(unet, networks, make_batch, mask, recipe, Path("runs/latentsync"))

``make_batch(seed, size)`` gives a ``LatentSyncBatch`` on the CPU; ``tests/training/latentsync/test_stage.py`` is a
whole example with tiny networks. A stopped run resumes from the folder, whose ``checkpoint.pt`` holds the UNet's
weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lipsync_cli.nn.sync.stable_syncnet import StableSyncNet
from lipsync_cli.nn.video_mae import VideoMae
from lipsync_cli.training.common.loop import Pace, Stage, Values, descend_accumulated
from lipsync_cli.training.common.noise import Noise, step_seed
from lipsync_cli.training.common.recipes import Count, LearningRate, Recipe, Seed
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.latentsync.losses import (
    STAGES,
    LossWeights,
    add_noise,
    clean_latent,
    lower_lpips,
    mark_trained,
    mixed_noise,
    recon_loss,
    sync_loss,
)
from lipsync_cli.training.latentsync.trepa import trepa_features, trepa_loss

NOISE_STEPS = 1000
LATENT_SCALE = 8
WINDOW = 16


class Vae(Protocol):
    """Frames ``[b f 3 s s]`` in [−1, 1] to scaled latents ``[b 4 f s/8 s/8]`` and, with gradients, back."""

    def encode(self, frames: Tensor) -> Tensor:
        """Scaled means of the posterior."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Frames, through which gradients flow."""
        ...


class LatentSyncBatch(NamedTuple):
    """Aligned crops ``[b f 3 s s]`` in [−1, 1] of a window and of another of the same clip, and its sound.

    ``audio`` ``[b f 50 384]`` are Whisper's tokens of each frame, ``mel`` ``[b 1 80 52]`` is the sync expert's input.
    """

    frames: Tensor
    reference: Tensor
    audio: Tensor
    mel: Tensor


MakeBatch = Callable[[int, int], LatentSyncBatch]
"""A batch on the CPU from a seed and a size; the same for the same seed."""


@dataclass(frozen=True, slots=True)
class LossNetworks:
    """Frozen networks: the VAE, and one for each term of the loss that is computed on pixels."""

    vae: Vae
    sync: StableSyncNet | None = None
    lpips: Callable[..., Any] | None = None
    trepa: VideoMae | None = None

    def require(self, weights: LossWeights) -> None:
        """ValueError unless every term with a weight has its network."""
        for name, weight in asdict(weights).items():
            if weight and name != "recon" and getattr(self, name) is None:
                raise ValueError(f"the {name} term of weight {weight:g} needs its network")


class LatentSyncRecipe(Recipe):
    """``batch`` windows a step, ``at_once`` of them in memory; ``stage`` is one of ``STAGES``."""

    stage: Literal["stage1", "stage2", "stage2_efficient"] = "stage2"
    steps: Count = 100_000
    batch: Count = 8
    at_once: Count = 1
    learning_rate: LearningRate = 1e-5
    seed: Seed = 1247
    save_every: Count = 10_000
    log_every: Count = 25


@functools.cache
def alpha_bars() -> Tensor:
    """ᾱ ``[1000]`` of Stable Diffusion 1.5's schedule: β from 0.00085 to 0.012, even in their roots."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, NOISE_STEPS, dtype=torch.float32) ** 2
    return torch.cumprod(1 - betas, 0)


def draw_windows(frames: int, rng: np.random.Generator) -> tuple[int, int]:
    """First frames of a window and of its reference, which does not overlap it, in a clip of ``frames``.

    ValueError for clips shorter than 48 frames, of which some windows would have no reference.
    """
    if frames < 3 * WINDOW:
        raise ValueError(f"a clip needs {3 * WINDOW} frames, got {frames}")
    start = int(rng.integers(frames - WINDOW + 1))
    others = np.arange(frames - WINDOW + 1)
    return start, int(rng.choice(others[np.abs(others - start) >= WINDOW]))


def loss_terms(
    unet: Callable[[Tensor, Tensor, Tensor], Tensor],
    networks: LossNetworks,
    batch: LatentSyncBatch,
    mask: Tensor,
    noise: Noise,
    weights: LossWeights,
    *,
    runtime: Runtime = ALONE,
) -> dict[str, Tensor]:
    """The terms that have a weight, unweighted, by name.

    ``unet`` takes latents ``[b 13 f h w]`` (noisy 4, mask 1, masked 4, reference 4), time steps ``[b]`` and audio
    ``[(b f) 50 384]``, and predicts the noise ``[b 4 f h w]``. ``mask`` ``[s s]`` is 1 where the frame is kept and 0
    where it is generated.
    """
    with torch.no_grad(), runtime.autocast():
        inputs = (batch.frames, batch.frames * mask, batch.reference)
        clean, masked, reference = (networks.vae.encode(frames).float() for frames in inputs)
    b, c, f, h, w = clean.shape
    t = noise.integers(NOISE_STEPS, (b,))
    true_noise = mixed_noise(noise.normal((b, c, 1, h, w)), noise.normal(clean.shape))
    alpha = alpha_bars().to(clean.device)[t]
    noisy = add_noise(clean, true_noise, alpha)
    small_mask = mask[::LATENT_SCALE, ::LATENT_SCALE].to(clean).expand(b, 1, f, h, w)
    with runtime.autocast():
        predicted = unet(torch.cat([noisy, small_mask, masked, reference], 1), t, batch.audio.flatten(0, 1))
    terms = {"recon": recon_loss(predicted, true_noise)}
    if weights.need_pixels:
        with runtime.autocast():
            decoded = networks.vae.decode(clean_latent(noisy, predicted.float(), alpha))
        terms |= _pixel_terms(networks, decoded, batch, weights, runtime)
    return terms


def _pixel_terms(
    networks: LossNetworks, decoded: Tensor, batch: LatentSyncBatch, weights: LossWeights, runtime: Runtime
) -> dict[str, Tensor]:
    terms = {}
    with runtime.autocast():
        if weights.sync and networks.sync is not None:
            terms["sync"] = sync_loss(networks.sync, decoded, batch.mel)
        if weights.lpips and networks.lpips is not None:
            terms["lpips"] = lower_lpips(networks.lpips, decoded, batch.frames)
        if weights.trepa and networks.trepa is not None:
            with torch.no_grad():
                true = trepa_features(networks.trepa, batch.frames)
            terms["trepa"] = trepa_loss(trepa_features(networks.trepa, decoded), true)
    return terms


def train_latentsync(
    unet: nn.Module,
    networks: LossNetworks,
    make: MakeBatch,
    mask: Tensor,
    recipe: LatentSyncRecipe,
    folder: Path,
    *,
    on_save: Callable[[int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> int:
    """Train the parameters that the recipe's stage trains, resuming from ``folder``; returns the steps made.

    The UNet is trained where it is; ``networks`` must be frozen and on the runtime's device. Batches, time
    steps and noise depend on (seed, step) alone. ValueError where a term lacks its network or parts are unequal.
    """
    stage, groups = STAGES[recipe.stage], recipe.batch // recipe.at_once
    networks.require(stage.weights)
    if recipe.batch % recipe.at_once or recipe.at_once % runtime.parts:
        raise ValueError(f"{recipe.batch} windows cannot be shared equally, {recipe.at_once} at once")
    runtime.place(unet)
    mask = mask.to(runtime.device)
    optimiser = torch.optim.AdamW(mark_trained(unet, stage), lr=recipe.learning_rate)
    loop = Stage(folder, {"unet": unet}, {"unet": optimiser}, averaged=None, runtime=runtime)
    factors = asdict(stage.weights)

    def advance(step: int) -> Values:
        figures: dict[str, Tensor] = {}

        def part(group: int) -> Tensor:
            seed = step_seed(recipe.seed, step) * groups + group
            batch = runtime.draw(make, seed=seed, size=recipe.at_once)
            noise = runtime.noise(seed)
            terms = loss_terms(unet, networks, batch, mask, noise, stage.weights, runtime=runtime)
            for name, term in terms.items():
                figures[name] = figures.get(name, torch.zeros_like(term)) + term.detach() / groups
            return torch.stack([factors[name] * term / groups for name, term in terms.items()]).sum()

        norm = descend_accumulated(optimiser, map(part, range(groups)), recipe.learning_rate, runtime=runtime)
        return figures | {"gradient": norm}

    pace = Pace(recipe.steps, recipe.save_every, recipe.log_every, deadline=deadline)
    loop.run(advance, pace, on_save=on_save)
    return loop.step
