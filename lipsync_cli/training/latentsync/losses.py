"""LatentSync's training objectives (Li et al. 2024, arXiv 2412.09262) as functions of tensors.

Latents are ``[b c f h w]``, frames ``[b f 3 h w]`` in [−1, 1]. Weights, stages and what each stage trains are those
of the public recipes of versions 1.5 and 1.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.nn.sync.stable_syncnet import StableSyncNet, lower_halves
from lipsync_cli.training.stable_sync.stage import PROBABILITY_MARGIN

Features = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weight of each term; a term of weight 0 is not computed, and its network not needed."""

    recon: float = 1.0
    sync: float = 0.0
    lpips: float = 0.0
    trepa: float = 0.0

    @property
    def need_pixels(self) -> bool:
        """Whether the clean latents have to be decoded."""
        return bool(self.sync or self.lpips or self.trepa)


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """``trained`` are parts of the names of the parameters that learn; none means all of them."""

    weights: LossWeights
    trained: tuple[str, ...] = ()

    def learns(self, name: str) -> bool:
        """Whether the parameter of that name, in the public key grammar, is trained."""
        return not self.trained or any(part in name for part in self.trained)


STAGES: Mapping[str, TrainingStage] = {
    "stage1": TrainingStage(LossWeights()),
    "stage2": TrainingStage(LossWeights(1.0, 0.05, 0.1, 10.0), ("motion_modules.", "attentions.")),
    "stage2_efficient": TrainingStage(LossWeights(1.0, 0.05, 0.1, 0.0), ("motion_modules.", "attn2")),
}
"""``stage1`` has no motion modules and decodes nothing; ``stage2_efficient`` has them in the decoder alone."""


def mark_trained(network: nn.Module, stage: TrainingStage) -> list[nn.Parameter]:
    """Let the stage's parameters learn and no others; returns them. ValueError where it would train nothing."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(stage.learns(name))
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError(f"no parameter has in its name {' or '.join(stage.trained)}")
    return trained


def mixed_noise(shared: Tensor, independent: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Unit noise ``[b c f h w]``, of whose variance α²/(1 + α²) is the same in every frame (PYoCo, Ge et al. 2023).

    ``shared`` ``[b c 1 h w]`` and ``independent`` ``[b c f h w]`` are standard normal.
    """
    both = 1 + alpha**2
    return math.sqrt(alpha**2 / both) * shared + math.sqrt(1 / both) * independent


def add_noise(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """√ᾱ·z₀ + √(1 − ᾱ)·ε, with ᾱ ``[b]``."""
    alpha = _broadcast(alpha_bar, clean)
    return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise


def clean_latent(noisy: Tensor, predicted: Tensor, alpha_bar: Tensor) -> Tensor:
    """The clean latent that a predicted noise means, in one step: (z_t − √(1 − ᾱ)·ε̂)/√ᾱ, not clipped."""
    alpha = _broadcast(alpha_bar, noisy)
    return (noisy - (1 - alpha).sqrt() * predicted) / alpha.sqrt()


def recon_loss(predicted: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the predicted noise, in full precision."""
    return F.mse_loss(predicted.float(), noise.float())


def sync_loss(network: StableSyncNet, frames: Tensor, mel: Tensor) -> Tensor:
    """−log of the probability that decoded frames ``[b f 3 s s]`` go with mels ``[b 1 80 columns]``.

    Crops of other sizes are resized to the network's before their lower half is taken.
    """
    cosine = network(lower_halves(frames, 2 * network.config.visual.shape[1]), mel)
    loss: Tensor = -cosine.float().clamp(PROBABILITY_MARGIN, 1).log().mean()
    return loss


def lower_lpips(network: Features, generated: Tensor, true: Tensor) -> Tensor:
    """Mean LPIPS of the lower halves of all frames.

    ``network`` is the LPIPS-VGG TorchScript of ``lipsync eval --weights`` (``vgg16.pt``), whose features' squared
    distance is LPIPS; it takes 0 … 255.
    """
    halves = [(x[..., x.shape[-2] // 2 :, :].flatten(0, 1) + 1) * 127.5 for x in (generated, true)]
    features = [network(half, resize_images=False, return_lpips=True) for half in halves]
    distance: Tensor = (features[0] - features[1]).square().sum(1)
    return distance.mean()


def _broadcast(values: Tensor, latents: Tensor) -> Tensor:
    """Values ``[b]`` in the shape, type and place of ``latents`` ``[b …]``."""
    return values.to(latents).view(-1, *[1] * (latents.dim() - 1))
