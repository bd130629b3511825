"""Stage: the mouth encoder alone, so that its landmarks generalise to faces outside the training set.

The encoder costs a hundredth of the renderer, so it can be trained on many more frames than a joint phase has. A
penalty on the distance to its former states keeps what z holds beyond geometry, and so what the renderer learnt of
it.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.core.types import Float32
from lipsync_cli.engines.mini.nn.landmark_flow import INNER_LIPS, POINTS
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder, mouth_window
from lipsync_cli.training.common.loop import Pace, Values, descend, learning_rate, run_stage
from lipsync_cli.training.common.noise import step_seed
from lipsync_cli.training.common.recipes import Count, LearningRate, Recipe, Seed, Weight
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.dataset.loader import ClipData, jitter_colour, mirror_points, speaker_weights
from lipsync_cli.training.mini.autoencoder import perturb

WARMUP = 100


class PointsRecipe(Recipe):
    """``clips`` × ``frames`` frames a step; ``keep`` weighs the squared distance to the former states."""

    steps: Count = 1500
    clips: Count = 16
    frames: Count = 6
    learning_rate: LearningRate = 1e-3
    keep: Weight = 0.02
    seed: Seed = 0


class PointsBatch(NamedTuple):
    """Mouth windows ``[b 3 56 56]`` in [0, 1] (see ``mouth_window``) and the points ``[b 29 2]`` (crop fractions)."""

    windows: Tensor
    points: Tensor


def points_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 over all points plus, four times as strong, over the three inner-lip distances."""

    def gaps(points: Tensor) -> Tensor:
        inner = points[:, INNER_LIPS]
        gap: Tensor = torch.linalg.vector_norm(inner[:, [1, 2, 3]] - inner[:, [7, 6, 5]] + 1e-6, dim=-1)
        return gap

    position = F.smooth_l1_loss(predicted, target, beta=0.01)
    opening = F.smooth_l1_loss(gaps(predicted), gaps(target), beta=0.01)
    loss: Tensor = 20 * (position + 4 * opening)
    return loss


def train_points(
    encoder: MouthEncoder,
    clips: list[ClipData],
    recipe: PointsRecipe,
    folder: Path,
    *,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> MouthEncoder:
    """Train ``encoder`` in place on frames drawn by speaker, resuming from ``folder``; ends with averaged weights."""
    runtime.place(encoder)
    former = copy.deepcopy(encoder).eval().requires_grad_(False)
    encoder.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=recipe.learning_rate, weight_decay=0.02)
    weights = speaker_weights(clips)

    def make(seed: int, size: int) -> PointsBatch:
        return _batch(clips, weights, recipe, seed, size)

    def advance(step: int) -> Values:
        windows, target = runtime.draw(make, seed=step_seed(recipe.seed, step), size=recipe.clips)
        # Perturbing the window rather than the crop is a tenth of the work.
        z = encoder.encode_window(perturb(windows, runtime.noise(recipe.seed + step)))
        drift = (z - former.encode_window(windows)).pow(2).mean()
        loss = points_loss(encoder.landmarks(z), target) + recipe.keep * drift
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=WARMUP)
        descend(optimiser, loss, rate, runtime=runtime)
        return {"loss": loss.detach(), "drift": drift.detach()}

    networks, pace = {"encoder": encoder, "former": former}, Pace(recipe.steps, deadline=deadline)
    averaged = run_stage(folder, networks, {"encoder": optimiser}, advance, pace, result=encoder, runtime=runtime)
    encoder.load_state_dict(averaged.state_dict())
    return encoder.eval()


def _batch(clips: list[ClipData], weights: Float32, recipe: PointsRecipe, seed: int, size: int) -> PointsBatch:
    rng = np.random.default_rng(seed)
    samples = [_sample(clips[i], recipe.frames, rng) for i in rng.choice(len(clips), size, p=weights)]
    return PointsBatch(torch.cat([pixels for pixels, _ in samples]), torch.cat([points for _, points in samples]))


def _sample(clip: ClipData, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    at = rng.integers(0, len(clip.crops), frames)
    pixels = torch.from_numpy(np.array(clip.crops[at])).permute(0, 3, 1, 2).float() / 255
    points = torch.from_numpy(clip.landmarks[at][:, POINTS] + 0.5) / clip.crops.shape[1]
    windows = jitter_colour(mouth_window(pixels), rng)
    # The window lies in the middle of the crop, so it may be mirrored by itself.
    return (windows.flip(-1), mirror_points(points)) if rng.random() < 0.5 else (windows, points)
