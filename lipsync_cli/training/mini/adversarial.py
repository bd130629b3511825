"""Stage: the renderer at full size against a patch critic, the mouth encoder frozen.

Reconstruction alone ends in the mean of what could be, which is soft teeth and skin. A hinge critic (Lim and Ye 2017)
and feature matching (Wang et al. 2018) make one sharp guess better than the mean. As in VQGAN (Esser et al. 2021) the
critic's gradient on the picture is scaled to a fixed share of the reconstruction's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.engines.mini.nn.patch_critic import Judgement, PatchCritic, view
from lipsync_cli.engines.mini.nn.renderer import Renderer
from lipsync_cli.training.common.loop import Pace, Values, descend, learning_rate, run_stage
from lipsync_cli.training.common.noise import Noise, step_seed
from lipsync_cli.training.common.recipes import (
    Count,
    CountOrNone,
    CropSize,
    LearningRate,
    Recipe,
    Seed,
    Share,
    Weight,
)
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.dataset.image_augment import ImageAugmentRecipe
from lipsync_cli.training.dataset.loader import ClipData, RenderBatch, render_batches
from lipsync_cli.training.mini.autoencoder import Autoencoder, RenderedBatch, reconstruction_losses, render

# The stream of batches, apart from that of the autoencoder's phases, which is their crop size.
STREAM = 7
BETAS = (0.5, 0.99)


class AdversarialRecipe(Recipe):
    """Sizes and rates.

    The networks get crops of ``crop_size`` pixels reduced to ``network_size``. ``pull`` is the critic's share against
    the reconstruction's gradient on the picture, 0 for the first ``critic_only`` steps; ``matching`` weighs feature
    matching. ``still`` and ``augment``: see ``render_batches``.
    """

    crop_size: CropSize = 256
    network_size: CropSize = 128
    steps: Count = 3000
    sequences: Count = 3
    targets: Count = 4
    references: Count = 3
    learning_rate: LearningRate = 2e-4
    critic_rate: LearningRate = 4e-4
    warmup: CountOrNone = 50
    critic_only: CountOrNone = 60
    pull: Weight = 0.5
    matching: Weight = 0.2
    latent_noise: Weight = 0.1
    still: Share = 0.2
    augment: ImageAugmentRecipe | None = None
    seed: Seed = 0
    save_every: Count = 100


class AdversarialStage:
    """The renderer, its critic, and the steps that train them in turn on the same pictures."""

    def __init__(
        self, model: Autoencoder, clips: Sequence[ClipData], recipe: AdversarialRecipe, runtime: Runtime
    ) -> None:
        self.model, self.recipe, self.runtime = model, recipe, runtime
        self._clips = list(clips)
        critic = PatchCritic().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic: PatchCritic = runtime.place(critic)
        runtime.place(model).eval().encoder.requires_grad_(False)
        parameters = model.renderer.parameters()
        self.optimiser = torch.optim.AdamW(parameters, recipe.learning_rate, BETAS, weight_decay=0.01)
        parameters = self.critic.parameters()
        self.critic_optimiser = torch.optim.AdamW(parameters, recipe.critic_rate, BETAS, weight_decay=0.0)

    def advance(self, step: int) -> Values:
        """One step of the renderer, then one of the critic on the same pictures."""
        recipe = self.recipe
        seed = step_seed(recipe.seed, STREAM, step)
        rate = learning_rate(step, recipe.steps, peak=1.0, warmup=recipe.warmup)
        batch, noise = self.runtime.draw(self._make, seed=seed, size=recipe.sequences), self.runtime.noise(seed)
        pull = 0.0 if step < recipe.critic_only else recipe.pull
        rendered, region, values = self._renderer_step(batch, noise, pull, rate * recipe.learning_rate)
        values["critic"] = self._critic_step(rendered, region, rate * recipe.critic_rate)
        return {name: value.detach() for name, value in values.items()}

    def _make(self, seed: int, sequences: int) -> RenderBatch:
        recipe = self.recipe
        return next(
            render_batches(
                self._clips, size=recipe.crop_size, sequences=sequences, targets=recipe.targets,
                references=recipe.references, seed=seed, still=recipe.still, augment=recipe.augment,
            )
        )  # fmt: skip

    def _renderer_step(
        self, batch: RenderBatch, noise: Noise, pull: float, rate: float
    ) -> tuple[RenderedBatch, Tensor, dict[str, Tensor]]:
        """What was rendered before the step, the region ``[n 1 h w]`` in which the critic counts, and the losses."""
        recipe, runtime, critic = self.recipe, self.runtime, self.critic.requires_grad_(False)
        with runtime.autocast():
            rendered = render(
                self.model, batch, noise, latent_noise=recipe.latent_noise, network_size=recipe.network_size
            )
            with torch.no_grad():
                real = critic(rendered.targets)
            fake = critic(rendered.image)
        region = view((rendered.mask > 0).float())
        losses = reconstruction_losses(rendered, runtime)
        losses["matching"] = recipe.matching * feature_matching(fake, real, region, runtime)
        adversarial = -weighted_mean(fake.realness, region, runtime)
        reconstruction = torch.stack(list(losses.values())).sum()
        balance = gradient_balance(reconstruction, adversarial, rendered.image, runtime)
        norm = descend(self.optimiser, reconstruction + pull * balance * adversarial, rate, runtime=runtime)
        return rendered, region, losses | {"adversarial": adversarial, "balance": balance, "norm": norm}

    def _critic_step(self, rendered: RenderedBatch, region: Tensor, rate: float) -> Tensor:
        """The critic's loss, after a step down it."""
        critic = self.critic.requires_grad_(True)
        with self.runtime.autocast():
            real, fake = critic(rendered.targets).realness, critic(rendered.image.detach()).realness
        loss = hinge(real, fake, region, self.runtime)
        descend(self.critic_optimiser, loss, rate, clip=10.0, runtime=self.runtime)
        return loss


def train_adversarial(
    model: Autoencoder,
    clips: Sequence[ClipData],
    recipe: AdversarialRecipe,
    folder: Path,
    *,
    on_save: Callable[[Autoencoder, int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> Autoencoder:
    """Train ``model.renderer`` on, resuming from ``folder``; ``model`` ends with the averaged weights."""
    torch.manual_seed(recipe.seed)
    stage = AdversarialStage(model, clips, recipe, runtime)

    def saved(renderer: Renderer, step: int) -> None:
        if on_save is not None:
            on_save(with_renderer(model, renderer.state_dict()), step)

    averaged = run_stage(
        folder,
        {"renderer": model.renderer, "critic": stage.critic},
        {"renderer": stage.optimiser, "critic": stage.critic_optimiser},
        stage.advance,
        Pace(recipe.steps, recipe.save_every, deadline=deadline),
        result=model.renderer,
        on_save=saved,
        runtime=runtime,
    )
    model.renderer.load_state_dict(averaged.state_dict())
    return model


def with_renderer(model: Autoencoder, weights: dict[str, Tensor]) -> Autoencoder:
    """A copy of ``model`` in evaluation mode with other weights of the renderer."""
    other = copy.deepcopy(model)
    other.renderer.load_state_dict(weights)
    return other.eval()


def hinge(real: Tensor, fake: Tensor, region: Tensor, runtime: Runtime = ALONE) -> Tensor:
    """The critic's loss: realness above 1 for real patches, below −1 for rendered ones."""
    return weighted_mean(F.relu(1 - real), region, runtime) + weighted_mean(F.relu(1 + fake), region, runtime)


def feature_matching(fake: Judgement, real: Judgement, region: Tensor, runtime: Runtime = ALONE) -> Tensor:
    """Mean absolute difference of the critic's features over the region, relative to the real ones, over all layers.

    The critic's weights are free to grow; without the division so would its pull.
    """
    gaps = [
        weighted_mean((a - b).abs(), region, runtime) / runtime.mean(weighted_mean(b.abs(), region, runtime))
        for a, b in zip(fake.features, real.features, strict=True)
    ]
    return torch.stack(gaps).mean()


def weighted_mean(maps: Tensor, region: Tensor, runtime: Runtime = ALONE) -> Tensor:
    """Mean of ``[b c h w]`` under a mask ``[b 1 H W]`` brought to its size.

    Of several processes' the mean is that of the whole batch: each divides by the mean of all their weights.
    """
    weights = F.adaptive_avg_pool2d(region, (maps.shape[-2], maps.shape[-1]))
    mean: Tensor = (maps * weights).sum() / (runtime.mean(weights.sum()) * maps.shape[1])
    return mean


def gradient_balance(reconstruction: Tensor, adversarial: Tensor, image: Tensor, runtime: Runtime = ALONE) -> Tensor:
    """Factor that gives both losses the same gradient norm on ``image``; at most 100."""
    wanted, given = (
        runtime.norm(torch.autograd.grad(loss, image, retain_graph=True)[0]) for loss in (reconstruction, adversarial)
    )
    balance: Tensor = (wanted / (given + 1e-8)).clamp(max=100.0).detach()
    return balance
