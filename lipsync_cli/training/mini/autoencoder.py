"""Stage: the mouth encoder and the renderer together, from pairs of frames of the same person.

The encoder gets a colour-shifted, slightly moved copy of the target's mouth, so that z cannot carry the picture;
noise on z keeps neighbouring states alike. References come from the same clip but are chosen without regard to
the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.engines.mini.nn.landmark_flow import LIPS
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.engines.mini.nn.renderer import Renderer, Rendering
from lipsync_cli.training.common.image_losses import (
    gradient_l1,
    region_weights,
    structural_dissimilarity,
    weight_sum,
    weighted_l1,
)
from lipsync_cli.training.common.loop import Pace, Values, descend, learning_rate, run_stage
from lipsync_cli.training.common.noise import Noise, step_seed
from lipsync_cli.training.common.recipes import Count, CountOrNone, CropSize, LearningRate, Recipe, Seed, Weight
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.dataset.image_augment import ImageAugmentRecipe
from lipsync_cli.training.dataset.loader import ClipData, RenderBatch, render_batches


class AutoencoderRecipe(Recipe):
    """Sizes and rates of one phase; phases at growing crop sizes continue one another.

    A step draws ``targets`` frames to be rendered and ``references`` frames of each of ``sequences`` clips.
    ``latent_noise`` is the standard deviation of what is added to z; ``augment`` changes the pictures themselves.
    """

    crop_size: CropSize = 128
    steps: Count = 3000
    sequences: Count = 4
    targets: Count = 4
    references: Count = 3
    learning_rate: LearningRate = 5e-4
    warmup: CountOrNone = 200
    latent: Count = 24
    latent_noise: Weight = 0.1
    augment: ImageAugmentRecipe | None = None
    seed: Seed = 0
    save_every: Count = 200


LIP_COUNT = len(LIPS)


class Autoencoder(nn.Module):
    """Encoder and renderer under one state dict."""

    def __init__(self, latent: int = 24) -> None:
        super().__init__()
        self.encoder = MouthEncoder(latent)
        self.renderer = Renderer(latent)


@dataclass(frozen=True, slots=True)
class RenderedBatch:
    """``targets`` ``[n 3 s s]`` and what the renderer made of them, in [0, 1].

    ``rendering`` is the renderer's own; ``image`` ``[n 3 s s]`` is how the compositor will show it, through the
    ``mask`` ``[n 1 s s]``. Mouth states ``z`` ``[n d]``, landmarks of lips and jaw ``points`` ``[n 29 2]`` in crop
    fractions.
    """

    targets: Tensor
    rendering: Rendering
    image: Tensor
    mask: Tensor
    z: Tensor
    points: Tensor


def render(
    model: Autoencoder,
    batch: RenderBatch,
    noise: Noise,
    *,
    latent_noise: float,
    network_size: int | None = None,
) -> RenderedBatch:
    """Encode the targets' mouths from perturbed copies and render them from the references.

    The renderer's networks get crops of ``network_size`` pixels, unset the crops' own.
    """
    t = batch.targets.shape[1]
    targets = batch.targets.flatten(0, 1)
    # One pass for both, so that they share their statistics.
    images = torch.cat([perturb(targets, noise), batch.references.flatten(0, 1)])
    # In half precision a point is known to half a pixel; the encoder is a hundredth of the work.
    with torch.autocast(images.device.type, enabled=False):
        z, z_references = model.encoder(images).split([len(targets), len(images) - len(targets)])
        z_references = z_references.detach().unflatten(0, batch.references.shape[:2])
        points_references = model.encoder.landmarks(z_references)
        noisy = z + latent_noise * noise.normal(z.shape)
        points = model.encoder.landmarks(noisy)
    references = model.renderer.encode_references(
        batch.references, z_references, points_references, network_size=network_size
    )
    rendering = model.renderer(targets, noisy, points, references.repeated(t))
    mask = batch.masks.flatten(0, 1)
    image = torch.lerp(targets, rendering.image, mask)
    return RenderedBatch(targets, rendering, image, mask, z, batch.target_points.flatten(0, 1))


def reconstruction_losses(rendered: RenderedBatch, runtime: Runtime = ALONE) -> dict[str, Tensor]:
    """Named, weighted losses of the picture and of what warping the references alone gave.

    All are divided by the sum of the same weights, and count for this process's share of it.
    """
    image, warped, targets = rendered.image, rendered.rendering.warped, rendered.targets
    weights = region_weights((rendered.mask > 0).float(), rendered.points[:, :LIP_COUNT])
    terms = {
        "l1": 4 * weighted_l1(image, targets, weights),
        "gradient": 6 * gradient_l1(image, targets, weights),
        "ssim": 0.5 * structural_dissimilarity(image, targets, weights),
        "warped": 2 * weighted_l1(warped, targets, weights) + 2 * gradient_l1(warped, targets, weights),
    }
    share = runtime.share(weight_sum(weights))
    return {name: share * term for name, term in terms.items()}


def losses(
    model: Autoencoder, batch: RenderBatch, recipe: AutoencoderRecipe, noise: Noise, runtime: Runtime = ALONE
) -> dict[str, Tensor]:
    """Named, weighted loss terms of one batch."""
    with runtime.autocast():
        rendered = render(model, batch, noise, latent_noise=recipe.latent_noise)
    points = F.smooth_l1_loss(model.encoder.landmarks(rendered.z), rendered.points, beta=0.01)
    return reconstruction_losses(rendered, runtime) | {"points": 5 * points}


def perturb(images: Tensor, noise: Noise) -> Tensor:
    """Images ``[b 3 h w]`` shifted by up to 2 % and changed in brightness and contrast: z must not depend on them."""
    b = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return noise.uniform(shape) * (high - low) + low

    theta = torch.zeros(b, 2, 3, device=images.device)
    theta[:, 0, 0] = theta[:, 1, 1] = uniform(0.97, 1.03, b)
    theta[:, :, 2] = uniform(-0.02, 0.02, b, 2)
    moved = F.grid_sample(
        images,
        F.affine_grid(theta, list(images.shape), align_corners=False),
        padding_mode="border",
        align_corners=False,
    )
    return (moved * uniform(0.8, 1.2, b, 3, 1, 1) + uniform(-0.1, 0.1, b, 1, 1, 1)).clamp(0, 1)


def train_autoencoder(
    model: Autoencoder,
    clips: list[ClipData],
    recipe: AutoencoderRecipe,
    folder: Path,
    *,
    on_save: Callable[[Autoencoder, int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> Autoencoder:
    """Train ``model`` for one phase, resuming from ``folder``; it ends with the averaged weights."""
    runtime.place(model).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)

    def make(seed: int, sequences: int) -> RenderBatch:
        return next(
            render_batches(
                clips, size=recipe.crop_size, sequences=sequences, targets=recipe.targets,
                references=recipe.references, seed=seed, augment=recipe.augment,
            )
        )  # fmt: skip

    def advance(step: int) -> Values:
        seed = step_seed(recipe.seed, recipe.crop_size, step)
        batch = runtime.draw(make, seed=seed, size=recipe.sequences)
        terms = losses(model, batch, recipe, runtime.noise(recipe.seed + step), runtime)
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=recipe.warmup)
        norm = descend(optimiser, torch.stack(list(terms.values())).sum(), rate, runtime=runtime)
        return {name: value.detach() for name, value in terms.items()} | {"norm": norm}

    pace = Pace(recipe.steps, recipe.save_every, deadline=deadline)
    averaged = run_stage(
        folder, {"model": model}, {"model": optimiser}, advance, pace,
        result=model, on_save=on_save, runtime=runtime,
    )  # fmt: skip
    model.load_state_dict(averaged.state_dict())
    return model.eval()
