"""The last layers of the renderer fitted to one video.

Targets are frames of the video with the mouth state that the frozen encoder reads from them; references come from
another moment of the same shot, and the renderer never sees the target's own lips. Held-out frames decide which
state is kept and whether any is better than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.landmarks68 import from_closed_to_open, lip_gap
from lipsync_cli.core.types import UInt8
from lipsync_cli.engines.mini.generator import MiniNetworks
from lipsync_cli.engines.mini.nn.landmark_flow import LIPS, POINTS
from lipsync_cli.engines.sharpening import detail_sigma, sharpened_images
from lipsync_cli.evaluation.measures.sharpness import mouth_box, sharpness
from lipsync_cli.training.adapt.footage import Footage, Indices, split, with_partners
from lipsync_cli.training.common.image_losses import detail_l1, region_weights, weighted_l1
from lipsync_cli.training.common.loop import descend
from lipsync_cli.training.dataset.loader import choose_references, shown
from lipsync_cli.training.mini.autoencoder import Shot, picture_terms

# Where pixels are taken from, and from which reference. Training all of the renderer takes half as long again and is
# no better after it; painting, when it is trained, invents stripes or goes soft.
ADAPTED = ("join1.", "trunk1.", "head_")
# Less of the model's own sharpness than this is not worth any smaller error.
SOFTENING = 0.9
ENCODED_AT_ONCE = 16
FIRST_SECOND = 25
Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class AdaptRecipe:
    """``targets`` frames a step share ``references``; ``detail`` weighs local contrast against the other losses.

    ``sharpen`` and ``network_size`` (unset: the crops') are the model's own, the first part of what is shown and so
    of what is judged. Every ``check_every`` steps up to ``held_out`` frames are rendered with the averaged weights;
    ``patience`` checks in vain end it.
    """

    learning_rate: float = 1e-4
    targets: int = 6
    references: int = 6
    detail: float = 240.0
    latent_noise: float = 0.1
    warmup: int = 10
    average: float = 0.98
    check_every: int = 20
    held_out: int = 16
    patience: int = 4
    sharpen: float = 0.0
    network_size: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over held-out frames: absolute ``error`` under the mask in [0, 1], ``sharpness`` of the mouth against
    the real one's, and the ``loss`` that is minimised."""

    error: float
    sharpness: float
    loss: float

    def no_worse_than(self, other: Figures) -> bool:
        """Neither a higher error nor, short of the real one's sharpness, a mouth that is visibly softer."""
        return self.error <= other.error and self.sharpness >= SOFTENING * min(other.sharpness, 1.0)


@dataclass(frozen=True, slots=True)
class Check:
    """``figures`` of the averaged weights after ``step`` steps."""

    step: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Adapted:
    """The best state by held-out frames: ``changes`` to the networks' weights by key, found at ``step`` of
    ``steps``. Empty and 0 where nothing was better than the start."""

    before: Figures
    after: Figures
    changes: dict[str, Tensor] = field(repr=False)
    step: int
    steps: int
    held_out: int


class Course:
    """A footage with its states and split, ready to be drawn from and rendered."""

    def __init__(self, networks: MiniNetworks, footage: Footage, recipe: AdaptRecipe) -> None:
        """InputError when no frame has references at another moment of its shot."""
        self.networks, self.footage, self.recipe = networks, footage, recipe
        self.device = next(networks.parameters()).device
        train, held = split(len(footage))
        self.train = train
        self.pool = with_partners(footage, train, train, recipe.references)
        held = with_partners(footage, held, train, recipe.references)
        if not len(self.pool) or not len(held):
            raise InputError(
                f"The shots with the face are too short: none of the {len(footage)} usable frames has enough others "
                "at another moment of its shot.",
                hint="Choose a longer part with --start and --end, or dub without an adapter.",
            )
        count = min(recipe.held_out, len(held))
        self.held = held[np.linspace(0, len(held) - 1, count).round().astype(int)]
        self.states = self._states()

    @torch.no_grad()
    def _states(self) -> Tensor:
        parts = np.array_split(np.arange(len(self.footage)), -(-len(self.footage) // ENCODED_AT_ONCE))
        return torch.cat([self.networks.encoder(self._pixels(part)) for part in parts])

    def draw(self, rng: np.random.Generator) -> tuple[Indices, Indices]:
        """Targets and the references that they share, all of one face in one shot, none near in time."""
        footage, recipe = self.footage, self.recipe
        first = int(rng.choice(self.pool))
        partners = footage.partners(first, self.train)
        references = partners[choose_references(footage.landmarks[partners], recipe.references, rng)]
        others = self.pool
        for reference in references:
            others = footage.partners(int(reference), others)
        return np.append(rng.choice(others, recipe.targets - 1), first), references

    def references_like_dub(self, index: int) -> Indices:
        """What ``dub`` would choose: of the shot's first second, spread from closed to open, not near ``index``."""
        early = self.footage.partners(index, self.train)[:FIRST_SECOND]
        gaps = lip_gap(self.footage.landmarks[early])
        return np.asarray(early[from_closed_to_open(gaps, self.recipe.references)])

    def render(self, targets: Indices, references: Indices, noise: Tensor | None = None) -> Shot:
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
        out = renderer(pixels, z, encoder.landmarks(z), bank.repeated(len(targets)))
        mask = self._masks(targets)
        points = (self.footage.landmarks[targets][:, POINTS] + 0.5) / self.footage.crops.shape[1]
        sigma = detail_sigma(pixels.shape[-1])
        image = torch.lerp(pixels, sharpened_images(out.image, self.recipe.sharpen, sigma), mask)
        return Shot(pixels, out, image, mask, z, torch.from_numpy(points).to(pixels))

    def loss(self, shot: Shot) -> Tensor:
        """The reconstruction losses that trained the renderer, and that of local contrast."""
        weights = region_weights((shot.mask > 0).float(), shot.points[:, : len(LIPS)])
        terms = [*picture_terms(shot).values(), self.recipe.detail * detail_l1(shot.image, shot.targets, weights)]
        return torch.stack(terms).sum()

    @torch.no_grad()
    def check(self) -> Figures:
        """Held-out figures of the renderer as it is."""
        errors, losses, made, real = [], [], [], []
        for index in self.held:
            shot = self.render(np.array([index]), self.references_like_dub(int(index)))
            errors.append(float(weighted_l1(shot.image, shot.targets, (shot.mask > 0).float())))
            losses.append(float(self.loss(shot)))
            made.append(sharpness(mouth_box(as_picture(shot.image[0]))))
            real.append(sharpness(mouth_box(self.footage.crops[index])))
        ratio = float(np.mean(made) / max(float(np.mean(real)), 1e-6))
        return Figures(float(np.mean(errors)), ratio, float(np.mean(losses)))

    @torch.no_grad()
    def pictures(self) -> list[UInt8]:
        """The held-out frames as the renderer now makes them, through the mask, RGB uint8 ``[s s 3]``."""
        shots = (self.render(np.array([index]), self.references_like_dub(int(index))) for index in self.held)
        return [as_picture(shot.image[0]) for shot in shots]

    def _pixels(self, indices: Indices) -> Tensor:
        crops = torch.from_numpy(self.footage.crops[indices]).to(self.device)
        return (crops.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)

    def _masks(self, indices: Indices) -> Tensor:
        crops, landmarks = self.footage.crops[indices], self.footage.landmarks[indices]
        masks = [shown(crop, marks, crop.shape[0]) for crop, marks in zip(crops, landmarks, strict=True)]
        return torch.from_numpy(np.stack(masks))[:, None].to(self.device)


class _Layers:
    """The parameters that are trained, their mean over the steps, and where they started."""

    def __init__(self, networks: MiniNetworks) -> None:
        networks.requires_grad_(False)
        named = networks.renderer.named_parameters()
        self.parameters = {name: parameter for name, parameter in named if name.startswith(ADAPTED)}
        self.start, self.average = self.copy(), self.copy()
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)

    def copy(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])

    @torch.no_grad()
    def update_average(self, momentum: float) -> None:
        for name, parameter in self.parameters.items():
            self.average[name].lerp_(parameter, 1 - momentum)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The mean in place of the parameters, for a while."""
        present = self.copy()
        self.put(self.average)
        try:
            yield
        finally:
            self.put(present)


def adapt(
    course: Course,
    *,
    steps: int | None = None,
    stop: Stop = lambda: False,
    on_check: Callable[[Check], None] = lambda check: None,
) -> Adapted:
    """Train until ``steps``, ``stop()`` or the recipe's patience says so; the renderer is left in the best state.

    What comes out after a number of steps depends on the footage, the recipe and its seed, not on the clock.
    """
    recipe, layers = course.recipe, _Layers(course.networks)
    best = start = Check(0, course.check())
    on_check(start)
    kept: Mapping[str, Tensor] = layers.start
    optimiser = torch.optim.AdamW(layers.parameters.values(), recipe.learning_rate, (0.9, 0.99), weight_decay=0.0)
    step, done = 0, False
    while not done:
        sound = _advance(course, optimiser, step)
        step += 1
        layers.update_average(min(recipe.average, step / (step + 9)))
        done = not sound or step == steps or stop()
        if done or step % recipe.check_every == 0:
            with layers.averaged():
                check = Check(step, course.check())
            on_check(check)
            if check.figures.loss < best.figures.loss and check.figures.no_worse_than(start.figures):
                best, kept = check, {name: value.clone() for name, value in layers.average.items()}
            done = done or step - best.step >= recipe.patience * recipe.check_every
    layers.put(kept)
    changes = {f"renderer.{name}": kept[name] - layers.start[name] for name in kept} if best.step else {}
    return Adapted(start.figures, best.figures, changes, best.step, step, len(course.held))


def _advance(course: Course, optimiser: torch.optim.Optimizer, step: int) -> bool:
    """One step whose randomness comes from (seed, step); False, and no step, when the loss is no number."""
    recipe = course.recipe
    targets, references = course.draw(np.random.default_rng((recipe.seed, step)))
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    noise = recipe.latent_noise * torch.randn((len(targets), course.states.shape[1]), generator=generator)
    rate = recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup)
    loss = course.loss(course.render(targets, references, noise))
    if not torch.isfinite(loss):
        return False
    descend(optimiser, loss, rate)
    return True


def as_picture(image: Tensor) -> UInt8:
    """``[3 s s]`` in [0, 1] as RGB uint8 ``[s s 3]``."""
    return np.asarray((image.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().cpu().numpy())
