"""From prepared clips to a model folder of kind omnisync."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from lipsync_cli import hub
from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.core.types import UInt8
from lipsync_cli.engines.omnisync.config import KIND, VERSION, OmniSyncConfig, read_config
from lipsync_cli.engines.omnisync.load import TRANSFORMER, load_frozen
from lipsync_cli.engines.omnisync.nn.transformer import OmniCondition, OmniSyncTransformer
from lipsync_cli.engines.omnisync.sampler import Sampler
from lipsync_cli.training.common.export import WEIGHTS, export
from lipsync_cli.training.common.loop import Report, deadline_in
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.dataset.loader import ClipData, load_clips
from lipsync_cli.training.omnisync.data import (
    EditBatch,
    EncodedClip,
    FrozenEncoders,
    edit_batch,
    encode_clips,
    read_clips,
)
from lipsync_cli.training.omnisync.pairing import ConditionDropout, PairSampler
from lipsync_cli.training.omnisync.stage import OmniSyncRecipe, train_transformer

PREVIEWS = 4


@dataclass(frozen=True, slots=True)
class OmniSyncRun:
    """Prepared clips in ``data``, checkpoints and encoded clips under ``runs``, at most ``minutes``."""

    data: Path
    runs: Path
    recipe: OmniSyncRecipe
    report: Report
    minutes: float | None = None
    runtime: Runtime = ALONE

    def base(self) -> hub.ModelCard:
        """The card that names encoders and sizes, with the recipe's changes."""
        card = hub.ModelCard(name=KIND, version=VERSION, kind=KIND, summary="A model of your own.")
        if self.recipe.base:
            card = hub.load_card(self.recipe.base)
            hub.require_version(card, kind=KIND, version=VERSION)
        elif not self.recipe.generator:
            raise UsageError("The recipe has neither a base model nor a [generator] table.", hint="Give it one.")
        return card.model_copy(update={"generator": card.generator | self.recipe.generator})


def train_omnisync(run: OmniSyncRun, model: Path) -> Path:
    """Encode the clips, train the transformer and export to ``model``; returns the weights' path. Resumes.

    Raises InputError where clips are missing or too short, ModelError where the encoders' files are, UsageError for
    a recipe that does not fit the clips or the processes.
    """
    run.runtime.check_batch(run.recipe.batch, "batch")
    card = run.base()
    config = read_config(card.generator, model=card.name)
    clips = load_clips(run.data, "train", open_only=run.recipe.open_only)
    if not clips:
        raise InputError(f"{run.data} has no usable clip in its train split.", hint="Add clips of talking people.")
    codec, ears, text = load_frozen(card, config, device=run.runtime.device, dtype=torch.float32)
    encoders = FrozenEncoders(codec, ears, run.runtime.device, torch.float32)
    folder = run.runs / "encoded"
    if run.runtime.is_main:
        run.report(f"encoding {len(clips)} clips into {folder}, those that are not there yet")
        encode_clips(clips, config, folder, files=_fingerprint(card), load=lambda: encoders)
    run.runtime.wait()
    encoded = read_clips(clips, config, folder, files=_fingerprint(card))
    torch.manual_seed(run.recipe.seed)
    network = OmniSyncTransformer(config.transformer())
    run.report(_describe(network, encoded, run.recipe))
    network = train_transformer(
        network, encoded, text, run.recipe, config, run.runs / KIND, on_save=_previews(run, encoded, config,
        encoders, text), deadline=deadline_in(run.minutes), runtime=run.runtime,
    )  # fmt: skip
    if not run.runtime.is_main:
        return model / WEIGHTS
    path = export(
        network, model, _blank_card(card, clips, model), role=TRANSFORMER, source="lipsync train omnisync",
        **config.model_dump(exclude_none=True),
    )  # fmt: skip
    run.report(f"wrote {path}")
    return path


def _describe(network: OmniSyncTransformer, clips: list[EncodedClip], recipe: OmniSyncRecipe) -> str:
    weights = sum(parameter.numel() for parameter in network.parameters())
    threshold = recipe.pairing.sigma(recipe.density)
    return (
        f"{weights / 1e6:.1f} million weights, {sum(len(clip.latents) for clip in clips)} latent frames; "
        f"pose-aligned pairs above sigma {threshold:.3f}, {100 * recipe.density.share_above(threshold):.1f} % of "
        "the draws"
    )


def _fingerprint(card: hub.ModelCard) -> str:
    """Hashes of the files that make latents and features, in one string."""
    return "".join(sorted(f"{w.role}:{w.sha256} " for w in card.weights if w.role in ("wan-vae", "speech")))


def _blank_card(card: hub.ModelCard, clips: list[ClipData], model: Path) -> hub.ModelCard:
    """The new model's card: the base's encoders, whose files inside the base's folder are copied."""
    model.mkdir(parents=True, exist_ok=True)
    others = tuple(weights for weights in card.weights if weights.role != TRANSFORMER)
    for weights in others:
        path = hub.resolve_weights(card, weights.role)
        inside = not hub.is_remote(weights) and not weights.file.startswith("file:")
        if inside and not (model / weights.file).exists():
            (model / weights.file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, model / weights.file)
    licences = "; ".join(sorted({clip.record.licence for clip in clips}))
    return hub.ModelCard(
        name=KIND,
        version=VERSION,
        kind=KIND,
        summary="A model of your own, made by lipsync train omnisync.",
        licence=f"trained on clips under: {licences}",
        generator=card.generator,
        weights=others,
    )


def _previews(
    run: OmniSyncRun,
    clips: list[EncodedClip],
    config: OmniSyncConfig,
    encoders: FrozenEncoders,
    text: Tensor | None,
) -> Callable[[OmniSyncTransformer, int], None] | None:
    """A grid of samples and a line at every save."""
    recipe = run.recipe
    if not recipe.preview_steps:
        return None
    # The source shows another moment than the target, so sampling has to begin with noise alone.
    choices = {"steps": recipe.preview_steps, "pni": "off", "pni_mouth_tau": None}
    sampler = config.model_copy(update=choices).sampler()
    pairs = PairSampler([clip.pair for clip in clips], config.window, recipe.pairing, recipe.density)
    batch = edit_batch(
        clips,
        pairs,
        recipe.density,
        ConditionDropout(audio=0, text=0, both=0),
        config.window,
        seed=recipe.seed + 5,
        size=PREVIEWS,
    )
    preview = EditBatch(*(column.to(run.runtime.device) for column in batch))

    def on_save(network: OmniSyncTransformer, step: int) -> None:
        grid, error = sample_grid(network, preview, sampler, encoders, text)
        path = run.runs / KIND / f"samples-{step:06d}.png"
        cv2.imwrite(str(path), cv2.cvtColor(grid, cv2.COLOR_RGB2BGR))
        if run.runtime.board is not None:
            run.runtime.board.picture(KIND, step, grid)
        run.report(f"step {step}: samples in {path}, mean error {error:.4f}")

    return on_save


@torch.no_grad()
def sample_grid(
    network: OmniSyncTransformer, batch: EditBatch, sampler: Sampler, encoders: FrozenEncoders, text: Tensor | None
) -> tuple[UInt8, float]:
    """Rows of source, target and result at a window's first, middle and last frame, RGB uint8 ``[h w 3]``.

    Also the mean absolute error in latents. Guidance is the same all over the picture.
    """
    prompt = None if text is None else text.to(batch.source.device)
    condition = OmniCondition(batch.source, batch.audio, prompt)

    def predict(x: Tensor, sigma: float, sound: bool) -> Tensor:
        times = torch.full((len(x),), sigma, device=x.device)
        velocity: Tensor = network(x, times, condition if sound else condition.without_sound())
        return velocity.float()

    noise = Noise(0, device=batch.source.device).normal(batch.source.shape)
    result = sampler(predict, batch.source, noise, mouth=torch.ones((), device=noise.device),
                     region=torch.ones((), device=noise.device))  # fmt: skip
    codec = encoders.codec
    columns = []
    for latents in (batch.source, batch.target, result):
        frames = codec.decode(latents.to(encoders.dtype), codec.begin()).float()
        last = frames.shape[1] - 1
        columns += [frames[:, at] for at in (0, last // 2, last)]
    sheet = torch.cat([torch.cat(list(column), 1) for column in columns], 2)
    pixels = (sheet.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
    return pixels, float((result - batch.target).abs().mean())
