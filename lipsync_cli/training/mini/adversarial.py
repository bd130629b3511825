"""The renderer at full size against a patch critic, the mouth encoder frozen.

Reconstruction alone ends in the mean of what could be, which is soft teeth and skin. A hinge critic (Lim and Ye 2017)
and feature matching (Wang et al. 2018) make one sharp guess better than the mean. As in VQGAN (Esser et al. 2021) the
critic's pull on the picture is scaled to a fixed share of the reconstruction's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.engines.mini.nn.patch_critic import Judgement, PatchCritic, view
from lipsync_cli.training.common.loop import Pace, Stage, Values, descend, learning_rate
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.dataset.image_augment import AugmentRecipe
from lipsync_cli.training.dataset.loader import ClipData, RenderBatch, render_batches
from lipsync_cli.training.mini.autoencoder import Autoencoder, picture_terms, render


@dataclass(frozen=True, slots=True)
class SharpenRecipe:
    """Sizes and rates. ``pull`` is the critic's share against the reconstruction's gradient on the picture.

    The networks look at ``network_size`` pixels of crops of ``crop_size``. ``still`` and ``changes``: see
    ``render_batches``.
    """

    crop_size: int = 256
    network_size: int = 128
    steps: int = 3000
    sequences: int = 3
    targets: int = 4
    references: int = 3
    learning_rate: float = 2e-4
    critic_rate: float = 4e-4
    warmup: int = 50
    critic_only: int = 60
    pull: float = 0.5
    matching: float = 0.2
    latent_noise: float = 0.1
    still: float = 0.2
    changes: AugmentRecipe | None = None
    seed: int = 0
    save_every: int = 100


def sharpen(
    model: Autoencoder,
    clips: list[ClipData],
    recipe: SharpenRecipe,
    folder: Path,
    *,
    on_save: Callable[[Autoencoder, int], None] | None = None,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> Autoencoder:
    """Train ``model.renderer`` on, resuming from ``folder``; ``model`` ends with the averaged weights."""
    torch.manual_seed(recipe.seed)
    critic = runtime.place(PatchCritic().to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    runtime.place(model).eval().encoder.requires_grad_(False)
    betas = (0.5, 0.99)
    optimiser = torch.optim.AdamW(model.renderer.parameters(), recipe.learning_rate, betas, weight_decay=0.01)
    judging = torch.optim.AdamW(critic.parameters(), recipe.critic_rate, betas, weight_decay=0.0)
    stage = Stage(
        folder,
        {"renderer": model.renderer, "critic": critic},
        {"renderer": optimiser, "critic": judging},
        averaged="renderer",
        runtime=runtime,
    )

    def advance(step: int) -> Values:
        rate = learning_rate(step, recipe.steps, peak=1.0, warmup=recipe.warmup)
        rates = rate * recipe.learning_rate, rate * recipe.critic_rate
        return _advance(model, critic, optimiser, judging, clips, recipe, step, rates, runtime)

    def saved(step: int) -> None:
        if on_save is not None:
            on_save(with_renderer(model, stage.average), step)

    pace = Pace(recipe.steps, save_every=recipe.save_every, deadline=deadline)
    model.renderer.load_state_dict(stage.run(advance, pace, on_save=saved))
    return model


def with_renderer(model: Autoencoder, average: dict[str, Tensor]) -> Autoencoder:
    """A copy of ``model`` in evaluation mode with other weights of the renderer."""
    other = copy.deepcopy(model)
    other.renderer.load_state_dict(average)
    return other.eval()


def _advance(
    model: Autoencoder,
    critic: PatchCritic,
    optimiser: torch.optim.Optimizer,
    judging: torch.optim.Optimizer,
    clips: list[ClipData],
    recipe: SharpenRecipe,
    step: int,
    rates: tuple[float, float],
    runtime: Runtime,
) -> Values:
    """One step of the renderer, then one of the critic on the same pictures."""
    seed = (recipe.seed * 1_000_003 + 7) * 1_000_003 + step

    def make(seed: int, sequences: int) -> RenderBatch:
        return next(
            render_batches(
                clips, size=recipe.crop_size, sequences=sequences, targets=recipe.targets,
                references=recipe.references, seed=seed, still=recipe.still, changes=recipe.changes,
            )
        )  # fmt: skip

    batch, noise = runtime.draw(make, seed=seed, size=recipe.sequences), runtime.noise(seed)
    critic.requires_grad_(False)
    with runtime.autocast():
        shot = render(model, batch, noise, latent_noise=recipe.latent_noise, network_size=recipe.network_size)
        with torch.no_grad():
            real = critic(shot.targets)
        fake = critic(shot.image)
    region = view((shot.mask > 0).float())
    terms = picture_terms(shot, runtime)
    terms["matching"] = recipe.matching * feature_matching(fake, real, region, runtime)
    adversarial = -weighted_mean(fake.realness, region, runtime)
    share = 0.0 if step < recipe.critic_only else recipe.pull
    balance = gradient_balance(torch.stack(list(terms.values())).sum(), adversarial, shot.image, runtime)
    total = torch.stack(list(terms.values())).sum() + share * balance * adversarial
    norm = descend(optimiser, total, rates[0], runtime=runtime)
    critic.requires_grad_(True)
    with runtime.autocast():
        verdicts = critic(shot.targets).realness, critic(shot.image.detach()).realness
    cost = hinge(*verdicts, region, runtime)
    descend(judging, cost, rates[1], clip=10.0, runtime=runtime)
    more = {"adversarial": adversarial, "critic": cost, "balance": balance, "norm": norm}
    return {name: value.detach() for name, value in (terms | more).items()}


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
