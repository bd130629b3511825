"""The last layers of the renderer fine-tuned on one video.

Targets are frames of the video with the mouth state that the frozen encoder gives them; references come from another
moment of the same shot, so the target's own lips are never an input. Held-out frames decide which state is kept and
whether any is better than the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.landmarks68 import from_closed_to_open, lip_gap
from lipsync_cli.core.types import UInt8
from lipsync_cli.engines.mini.generator import MiniNetworks
from lipsync_cli.engines.mini.nn.landmark_flow import LIPS, POINTS
from lipsync_cli.engines.sharpening import detail_sigma, sharpened_images
from lipsync_cli.evaluation.measures.sharpness import mouth_box, sharpness
from lipsync_cli.training.adapt.adaptation_set import AdaptationSet, Indices, split, with_partners
from lipsync_cli.training.common.image_losses import detail_l1, region_weights, weighted_l1
from lipsync_cli.training.common.loop import descend
from lipsync_cli.training.common.noise import step_seed
from lipsync_cli.training.common.recipes import Count, Momentum, Recipe, Seed, Share, Weight
from lipsync_cli.training.common.weight_average import WeightAverage, ramped_momentum
from lipsync_cli.training.dataset.loader import choose_references, visible_mask
from lipsync_cli.training.mini.autoencoder import RenderedBatch, reconstruction_losses

# The layers of the flow, and of the choice of a reference. Training all of the renderer takes half as long again and
# is no better after it; the inpainting layers, when they are trained, make stripes or blur.
ADAPTED = ("join1.", "trunk1.", "head_")
# Less of the model's own sharpness than this is not worth any smaller error.
SOFTENING = 0.9
ENCODED_AT_ONCE = 16
FIRST_SECOND = 25
Stop = Callable[[], bool]


class AdaptRecipe(Recipe):
    """``targets`` frames a step share ``references``; ``detail`` weighs local contrast against the other losses.

    ``sharpen`` and ``network_size`` (unset: the crops') are the model's own: frames are compared as ``dub`` would
    sharpen them. Every ``check_every`` steps up to ``held_out`` frames are rendered with the averaged weights;
    ``patience`` checks without an improvement end it.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    targets: Count = 6
    references: Count = 6
    detail: Weight = 240.0
    latent_noise: Weight = 0.1
    warmup: Count = 10
    average: Momentum = 0.98
    check_every: Count = 20
    held_out: Count = 16
    patience: Count = 4
    sharpen: Share = 0.0
    network_size: Count | None = None
    seed: Seed = 0


@dataclass(frozen=True, slots=True)
class HeldOutFigures:
    """Means over held-out frames: absolute ``error`` under the mask in [0, 1], ``sharpness`` of the mouth against
    the real one's, and the ``loss`` that is minimised."""

    error: float
    sharpness: float
    loss: float

    def no_worse_than(self, other: HeldOutFigures) -> bool:
        """Neither a higher error nor, short of the real one's sharpness, a mouth that is visibly softer."""
        return self.error <= other.error and self.sharpness >= SOFTENING * min(other.sharpness, 1.0)


@dataclass(frozen=True, slots=True)
class HeldOutCheck:
    """``figures`` of the averaged weights after ``step`` steps."""

    step: int
    figures: HeldOutFigures


@dataclass(frozen=True, slots=True)
class Adaptation:
    """The best state by held-out frames: ``changes`` to the networks' weights by key, found at ``step`` of
    ``steps``. Empty and 0 where nothing was better than the start."""

    before: HeldOutFigures
    after: HeldOutFigures
    changes: dict[str, Tensor] = field(repr=False)
    step: int
    steps: int
    held_out: int


class AdaptationTrainer:
    """Networks and the frames to fine-tune them on: draws batches, renders and measures them.

    Holds the mouth states of all frames; ``held`` are the held-out ones that ``check`` measures.
    """

    def __init__(self, networks: MiniNetworks, frames: AdaptationSet, recipe: AdaptRecipe) -> None:
        """InputError when no frame has references at another moment of its shot."""
        self.networks, self.frames, self.recipe = networks, frames, recipe
        self.device = next(networks.parameters()).device
        train, held = split(len(frames))
        self.train = train
        self.pool = with_partners(frames, train, train, recipe.references)
        held = with_partners(frames, held, train, recipe.references)
        if not len(self.pool) or not len(held):
            raise InputError(
                f"The shots with the face are too short: none of the {len(frames)} usable frames has enough others "
                "at another moment of its shot.",
                hint="Choose a longer part with --start and --end, or dub without an adapter.",
            )
        count = min(recipe.held_out, len(held))
        self.held = held[np.linspace(0, len(held) - 1, count).round().astype(int)]
        self.states = self._states()

    @torch.no_grad()
    def _states(self) -> Tensor:
        parts = np.array_split(np.arange(len(self.frames)), -(-len(self.frames) // ENCODED_AT_ONCE))
        return torch.cat([self.networks.encoder(self._pixels(part)) for part in parts])

    def draw(self, rng: np.random.Generator) -> tuple[Indices, Indices]:
        """Targets and the references that they share, all of one face in one shot, none near in time."""
        frames, recipe = self.frames, self.recipe
        first = int(rng.choice(self.pool))
        partners = frames.partners(first, self.train)
        references = partners[choose_references(frames.landmarks[partners], recipe.references, rng)]
        others = self.pool
        for reference in references:
            others = frames.partners(int(reference), others)
        return np.append(rng.choice(others, recipe.targets - 1), first), references

    def dub_references(self, index: int) -> Indices:
        """References as ``dub`` chooses them: of the shot's first second, from closed to open, not near ``index``."""
        early = self.frames.partners(index, self.train)[:FIRST_SECOND]
        gaps = lip_gap(self.frames.landmarks[early])
        return np.asarray(early[from_closed_to_open(gaps, self.recipe.references)])

    def render(self, targets: Indices, references: Indices, noise: Tensor | None = None) -> RenderedBatch:
        """``targets`` ``[t]`` from ``references`` ``[k]``; ``noise`` ``[t latent]`` is added to their states."""
        renderer, encoder = self.networks.renderer, self.networks.encoder
        pixels, z, z_references = self._pixels(targets), self.states[targets], self.states[references]
        z = z if noise is None else z + noise.to(z)
        bank = renderer.encode_references(
            self._pixels(references)[None],
            z_references[None],
            encoder.landmarks(z_references)[None],
            network_size=self.recipe.network_size,
        )
        rendering = renderer(pixels, z, encoder.landmarks(z), bank.repeated(len(targets)))
        mask = self._masks(targets)
        points = (self.frames.landmarks[targets][:, POINTS] + 0.5) / self.frames.crops.shape[1]
        sigma = detail_sigma(pixels.shape[-1])
        image = torch.lerp(pixels, sharpened_images(rendering.image, self.recipe.sharpen, sigma), mask)
        return RenderedBatch(pixels, rendering, image, mask, z, torch.from_numpy(points).to(pixels))

    def loss(self, rendered: RenderedBatch) -> Tensor:
        """The reconstruction losses that trained the renderer, and that of local contrast."""
        weights = region_weights((rendered.mask > 0).float(), rendered.points[:, : len(LIPS)])
        terms = [
            *reconstruction_losses(rendered).values(),
            self.recipe.detail * detail_l1(rendered.image, rendered.targets, weights),
        ]
        return torch.stack(terms).sum()

    @torch.no_grad()
    def check(self) -> HeldOutFigures:
        """Held-out figures of the renderer as it is."""
        errors, losses, rendered_sharpness, real_sharpness = [], [], [], []
        for index in self.held:
            rendered = self.render(np.array([index]), self.dub_references(int(index)))
            errors.append(float(weighted_l1(rendered.image, rendered.targets, (rendered.mask > 0).float())))
            losses.append(float(self.loss(rendered)))
            rendered_sharpness.append(sharpness(mouth_box(as_picture(rendered.image[0]))))
            real_sharpness.append(sharpness(mouth_box(self.frames.crops[index])))
        ratio = float(np.mean(rendered_sharpness) / max(float(np.mean(real_sharpness)), 1e-6))
        return HeldOutFigures(float(np.mean(errors)), ratio, float(np.mean(losses)))

    @torch.no_grad()
    def pictures(self) -> list[UInt8]:
        """The held-out frames as the renderer now makes them, through the mask, RGB uint8 ``[s s 3]``."""
        batches = (self.render(np.array([index]), self.dub_references(int(index))) for index in self.held)
        return [as_picture(rendered.image[0]) for rendered in batches]

    def _pixels(self, indices: Indices) -> Tensor:
        crops = torch.from_numpy(self.frames.crops[indices]).to(self.device)
        return (crops.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)

    def _masks(self, indices: Indices) -> Tensor:
        crops, landmarks = self.frames.crops[indices], self.frames.landmarks[indices]
        masks = [visible_mask(crop, marks, crop.shape[0]) for crop, marks in zip(crops, landmarks, strict=True)]
        return torch.from_numpy(np.stack(masks))[:, None].to(self.device)


class _TrainedLayers:
    """The parameters that are trained, their mean over the steps, and where they started."""

    def __init__(self, networks: MiniNetworks) -> None:
        networks.requires_grad_(False)
        named = networks.renderer.named_parameters()
        self.parameters = {name: parameter for name, parameter in named if name.startswith(ADAPTED)}
        self.start, self.average = self.copy(), WeightAverage(self.parameters)
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)

    def copy(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The mean in place of the parameters, for a while."""
        present = self.copy()
        self.put(self.average.tensors)
        try:
            yield
        finally:
            self.put(present)


def adapt(
    trainer: AdaptationTrainer,
    *,
    steps: int | None = None,
    stop: Stop = lambda: False,
    on_check: Callable[[HeldOutCheck], None] = lambda check: None,
) -> Adaptation:
    """Train until ``steps``, ``stop()`` or the end of the recipe's patience; the renderer is left in the best state.

    The result after a number of steps depends on the frames, the recipe and its seed, not on the clock.
    """
    recipe, layers = trainer.recipe, _TrainedLayers(trainer.networks)
    best = start = HeldOutCheck(0, trainer.check())
    on_check(start)
    best_weights: Mapping[str, Tensor] = layers.start
    optimiser = torch.optim.AdamW(layers.parameters.values(), recipe.learning_rate, (0.9, 0.99), weight_decay=0.0)
    step, done = 0, False
    while not done:
        finite = _advance(trainer, optimiser, step)
        step += 1
        layers.average.update(layers.parameters, ramped_momentum(recipe.average, step))
        done = not finite or step == steps or stop()
        if done or step % recipe.check_every == 0:
            with layers.averaged():
                check = HeldOutCheck(step, trainer.check())
            on_check(check)
            if check.figures.loss < best.figures.loss and check.figures.no_worse_than(start.figures):
                best, best_weights = check, {k: v.clone() for k, v in layers.average.tensors.items()}
            done = done or step - best.step >= recipe.patience * recipe.check_every
    layers.put(best_weights)
    moved = {f"renderer.{name}": value - layers.start[name] for name, value in best_weights.items()}
    changes = moved if best.step else {}
    return Adaptation(start.figures, best.figures, changes, best.step, step, len(trainer.held))


def _advance(trainer: AdaptationTrainer, optimiser: torch.optim.Optimizer, step: int) -> bool:
    """One step whose randomness comes from (seed, step); False, and no step, when the loss is not finite."""
    recipe = trainer.recipe
    targets, references = trainer.draw(np.random.default_rng((recipe.seed, step)))
    generator = torch.Generator().manual_seed(step_seed(recipe.seed, step))
    noise = recipe.latent_noise * torch.randn((len(targets), trainer.states.shape[1]), generator=generator)
    rate = recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup)
    loss = trainer.loss(trainer.render(targets, references, noise))
    if not torch.isfinite(loss):
        return False
    descend(optimiser, loss, rate)
    return True


def as_picture(image: Tensor) -> UInt8:
    """``[3 s s]`` in [0, 1] as RGB uint8 ``[s s 3]``."""
    return np.asarray((image.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().cpu().numpy())
