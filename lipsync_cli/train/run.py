"""The stages in order, from prepared clips to weights that ``dub`` can load. Every stage resumes where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lipsync_cli.errors import InputError
from lipsync_cli.generate.mini import MiniConfig, MiniNetworks
from lipsync_cli.train import autoencoder, flow
from lipsync_cli.train.autoencoder import Autoencoder, AutoencoderRecipe
from lipsync_cli.train.data import ClipData, load_clips
from lipsync_cli.train.export import export
from lipsync_cli.train.flow import FlowRecipe
from lipsync_cli.train.latents import encode_clips
from lipsync_cli.train.points import PointsRecipe, train_points
from lipsync_cli.train.previews import save_preview

Say = Callable[[str], None]
POINTS_DONE = "points.done"


@dataclass(frozen=True, slots=True)
class MiniRecipe:
    """Joint phases at small crops, the points, if wanted the renderer alone at full size, and the flow."""

    joint: tuple[AutoencoderRecipe, ...] = (
        AutoencoderRecipe(crop_size=96, steps=900, learning_rate=8e-4, warmup=50),
        AutoencoderRecipe(crop_size=128, steps=600, learning_rate=6e-4, warmup=50),
    )
    points: PointsRecipe = field(default_factory=PointsRecipe)
    fine: AutoencoderRecipe | None = None
    flow: FlowRecipe = field(default_factory=FlowRecipe)


def train_all(
    data: Path, runs: Path, model: Path, recipe: MiniRecipe, *, minutes: float | None = None, say: Say
) -> Path:
    """Train every stage on ``data`` (prepared) under ``runs`` and export to ``model``; returns the weights' path.

    ``minutes`` bounds each stage. Raises InputError when the folder holds no usable clips.
    """
    clips = _clips(data, "train")
    config = MiniConfig.model_validate({})
    networks = MiniNetworks(config)
    pair = train_autoencoder(clips, runs, recipe, minutes=minutes, say=say)
    networks.encoder.load_state_dict(pair.encoder.state_dict())
    networks.renderer.load_state_dict(pair.renderer.state_dict())
    train_flow(networks, clips, load_clips(data, "val"), runs, config, recipe.flow, minutes=minutes, say=say)
    path = export(networks, model)
    say(f"wrote {path}")
    return path


def train_autoencoder(
    clips: list[ClipData], runs: Path, recipe: MiniRecipe, *, minutes: float | None, say: Say
) -> Autoencoder:
    """Joint phases, points, fine phase, each from the last one's weights."""
    torch.manual_seed(recipe.joint[0].seed)
    model = Autoencoder(recipe.joint[0].latent)
    folder = runs / "autoencoder"
    for phase in recipe.joint:
        model = _renderer_phase(model, clips, phase, folder, minutes=minutes, say=say)
    if not (folder / POINTS_DONE).exists():
        train_points(model.encoder, clips, recipe.points, folder, deadline=_deadline(minutes))
        autoencoder.replace_weights(folder, model)
        (folder / POINTS_DONE).touch()
    if recipe.fine is not None:
        model = _renderer_phase(model, clips, recipe.fine, folder, minutes=minutes, say=say)
    return model


def _renderer_phase(
    model: Autoencoder,
    clips: list[ClipData],
    phase: AutoencoderRecipe,
    folder: Path,
    *,
    minutes: float | None,
    say: Say,
) -> Autoencoder:
    """One phase, with a preview picture at every save."""

    def on_save(average: Autoencoder, step: int) -> None:
        error = save_preview(average, clips, folder / f"preview-{phase.crop_size}-{step:05d}.png")
        say(f"autoencoder {phase.crop_size} px, step {step}: mean error {error:.4f}")

    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return autoencoder.train(model, clips, phase, folder, on_save=on_save, deadline=_deadline(minutes))


def train_flow(
    networks: MiniNetworks,
    clips: list[ClipData],
    held_out: list[ClipData],
    runs: Path,
    config: MiniConfig,
    recipe: FlowRecipe,
    *,
    minutes: float | None,
    say: Say,
) -> None:
    """Encode the clips, train the flow on their states and put it into ``networks``."""
    states = encode_clips(networks.encoder, clips)
    say(f"flow: {sum(len(clip.z) for clip in states)} states of {len(states)} clips")
    network = flow.new_network(config.flow(), states, networks.encoder, seed=recipe.seed)
    trained = flow.train(network, states, recipe, runs / "flow", deadline=_deadline(minutes))
    networks.flow.load_state_dict(trained.state_dict())
    if held_out:
        figures = flow.validate(trained, networks.encoder, encode_clips(networks.encoder, held_out), config.schedule)
        say("flow, held-out speakers: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))


def _clips(data: Path, split: str) -> list[ClipData]:
    if not (data / "index.jsonl").exists():
        raise InputError(f"{data} holds no prepared clips.", hint="Run 'lipsync train prepare' first.")
    clips = load_clips(data, split)
    if not clips:
        raise InputError(f"{data} has no usable clip in its {split} split.", hint="Add clips of talking people.")
    return clips


def _deadline(minutes: float | None) -> float | None:
    return None if minutes is None else time.monotonic() + 60 * minutes
