"""The stages in order, from prepared clips to weights that ``dub`` can load. Every stage resumes where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch

from lipsync_cli import hub
from lipsync_cli.core.errors import InputError
from lipsync_cli.engines.mini.config import KIND, VERSION, MiniConfig
from lipsync_cli.engines.mini.generator import MiniNetworks, load_mini
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.flow_backbone import AudioWindowEncoder, FlowBackbone
from lipsync_cli.engines.mini.nn.mouth_encoder import MouthEncoder
from lipsync_cli.engines.mini.nn.state_sync import StateSync
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.training.common.export import WEIGHTS, export
from lipsync_cli.training.common.loop import Report, deadline_in, is_done, with_weights
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.common.wall_times import describe, stage_times
from lipsync_cli.training.dataset.loader import ClipData, load_clips
from lipsync_cli.training.mini import causal
from lipsync_cli.training.mini.adversarial import train_adversarial
from lipsync_cli.training.mini.autoencoder import Autoencoder, train_autoencoder
from lipsync_cli.training.mini.latents import LatentClip, encode_clips
from lipsync_cli.training.mini.phones import synthesise, train_phones
from lipsync_cli.training.mini.points import train_points
from lipsync_cli.training.mini.previews import save_preview
from lipsync_cli.training.mini.recipe import MiniRecipe
from lipsync_cli.training.mini.state_sync import train_state_sync
from lipsync_cli.training.mini.student import train_student
from lipsync_cli.training.mini.teacher import train_teacher
from lipsync_cli.training.mini.trajectory import analyse


class StageOptions(TypedDict):
    """What every stage's function takes beside its own."""

    deadline: float | None
    runtime: Runtime


@dataclass(frozen=True, slots=True)
class MiniRun:
    """One training run: prepared clips in ``data``, checkpoints under ``runs``, at most ``minutes`` a stage.

    ``start``, a model's name or folder, gives the networks to begin with instead of fresh ones. ``report`` gets lines
    for people. Of several processes the main one of the ``runtime`` reports, measures, draws previews and exports.
    """

    data: Path
    runs: Path
    recipe: MiniRecipe
    report: Report
    minutes: float | None = None
    runtime: Runtime = ALONE
    start: str | None = None

    def stage_options(self) -> StageOptions:
        """Where a stage that begins now runs and when it has to stop, in ``time.monotonic`` seconds."""
        return {"deadline": deadline_in(self.minutes), "runtime": self.runtime}

    def clips(self, split: str) -> list[ClipData]:
        """The prepared clips of a split that the recipe may use."""
        return load_clips(self.data, split, open_only=self.recipe.open_only)


def train_all(run: MiniRun, model: Path) -> Path:
    """Train every stage and export to ``model``; returns the weights' path.

    Raises InputError when the folder holds no usable clips, UsageError when the processes cannot share a batch or the
    recipe lacks a model to start from, ModelError for one that cannot be read.
    """
    for name, size in run.recipe.batches().items():
        run.runtime.check_batch(size, name)
    clips = _training_clips(run)
    start = None if run.start is None else load_mini(hub.load_card(run.start))
    config = run.recipe.config(None if start is None else start[1])
    networks = run.runtime.place(MiniNetworks(config) if start is None else start[0])
    pictures = train_pictures(run, clips, networks if start else None)
    networks.encoder.load_state_dict(pictures.encoder.state_dict())
    networks.renderer.load_state_dict(pictures.renderer.state_dict())
    networks.flow.load_state_dict(train_speech(run, networks, clips, config).state_dict())
    if not run.runtime.is_main:
        return model / WEIGHTS
    path = export(
        networks, model, _blank_card(config, clips), role="networks", source="lipsync train mini",
        schedule=config.schedule, temperature=config.temperature,
    )  # fmt: skip
    run.report(f"{describe(stage_times(run.runs))}\nwrote {path}")
    return path


def _blank_card(config: MiniConfig, clips: list[ClipData]) -> hub.ModelCard:
    """The card of a new model until somebody writes more."""
    return hub.ModelCard(
        name=KIND,
        version=VERSION,
        kind=KIND,
        summary="A model of your own, made by lipsync train mini.",
        licence="trained on clips under: " + "; ".join(sorted({clip.record.licence for clip in clips})),
        generator=config.model_dump(),
    )


def train_pictures(run: MiniRun, clips: list[ClipData], start: MiniNetworks | None = None) -> Autoencoder:
    """Mouth encoder and renderer: joint phases, points, and the renderer alone against a critic.

    They begin with the weights of ``start`` where it is given; without joint phases its encoder stays as it is.
    """
    recipe = run.recipe
    torch.manual_seed(recipe.autoencoder[0].seed if recipe.autoencoder else 0)
    model = Autoencoder(recipe.autoencoder[0].latent if start is None else start.encoder.head.out_features)
    if start is not None:
        model.encoder.load_state_dict(start.encoder.state_dict())
        model.renderer.load_state_dict(start.renderer.state_dict())
    run.runtime.place(model.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    for phase in recipe.autoencoder:
        folder = run.runs / f"autoencoder-{phase.crop_size}"
        on_save = _previews(run, clips, folder)
        model = train_autoencoder(model, clips, phase, folder, on_save=on_save, **run.stage_options())
    if recipe.autoencoder:
        train_points(model.encoder, clips, recipe.points, run.runs / "points", **run.stage_options())
    if recipe.adversarial is not None:
        folder = run.runs / "adversarial"
        on_save = _previews(run, clips, folder)
        model = train_adversarial(model, clips, recipe.adversarial, folder, on_save=on_save, **run.stage_options())
    return model.eval()


def train_speech(run: MiniRun, networks: MiniNetworks, clips: list[ClipData], config: MiniConfig) -> CausalFlow:
    """From sound to mouth states: causal network, and if wanted teacher, sync expert and distilled student."""
    recipe, encoder = run.recipe, networks.encoder
    if recipe.audio_augment is not None:
        run.report(f"making {recipe.audio_augment.variants} variants of the sound of {len(clips)} clips")
    states = encode_clips(encoder, clips, recipe.audio_augment, mirrored=recipe.mirrored)
    held_out = encode_clips(encoder, run.clips("val"))
    run.report(f"{sum(len(clip.z) for clip in states)} states of {len(states)} clips")
    earlier = networks.flow if run.start is not None and recipe.phones is None else None
    network = speech_network(run, states, encoder, config, earlier)
    network = causal.train_causal(network, states, recipe.causal, run.runs / "causal", **run.stage_options())
    _report_validation(run, "causal", networks, network, held_out, config)
    if recipe.student is None:
        return interpolated(earlier, network, recipe.learnt)
    expert, teacher = train_scorers(run, network, states, earlier)
    if held_out and run.runtime.is_main:
        run.report(f"wrote {analyse(teacher, expert, held_out, run.runs / 'teacher')}")
    network = train_student(
        network, teacher, expert, states, recipe.student, run.runs / "student", **run.stage_options()
    )
    network = interpolated(earlier, network, recipe.learnt)
    _report_validation(run, "student", networks, network, held_out, config)
    return network


def interpolated(earlier: CausalFlow | None, network: CausalFlow, learnt: float) -> CausalFlow:
    """``network`` with weights ``learnt`` of the way to its own from those of ``earlier``, if there is one."""
    if earlier is None or learnt == 1.0:
        return network
    before, after = earlier.state_dict(), network.state_dict()
    return with_weights(network, {key: torch.lerp(before[key], after[key], learnt) for key in after})


def new_scorers(recipe: MiniRecipe, units: CausalFlow) -> tuple[StateSync, WindowFlow]:
    """The sync expert and the teacher before training, with seeded weights and the units of ``units``."""
    latent = units.config.latent
    torch.manual_seed(recipe.sync.seed)
    expert = StateSync(latent)
    torch.manual_seed(recipe.teacher.seed)
    teacher = WindowFlow(recipe.teacher.config(latent))
    teacher.share_units(units)
    return expert, teacher


def speech_network(
    run: MiniRun,
    states: list[LatentClip],
    encoder: MouthEncoder,
    config: MiniConfig,
    earlier: CausalFlow | None = None,
) -> CausalFlow:
    """The causal network before its stage: the data's units and a pretrained audio encoder, or all of ``earlier``."""
    network = causal.new_network(config.flow(), states, encoder, seed=run.recipe.causal.seed, earlier=earlier)
    if earlier is None:
        load_audio_encoder(run, network)
    return network


def load_audio_encoder(run: MiniRun, network: FlowBackbone) -> None:
    """Give the network an audio encoder of its width pretrained by the phones stage, if the recipe has one."""
    recipe = run.recipe.phones
    if recipe is None:
        return
    folder = run.runs / f"phones-{network.config.width}"
    speech = synthesise(recipe) if not is_done(folder, recipe.steps) else []
    torch.manual_seed(recipe.seed)
    encoder = train_phones(AudioWindowEncoder(network.config.width), speech, recipe, folder, **run.stage_options())
    network.audio.load_state_dict(encoder.state_dict())


def train_scorers(
    run: MiniRun, units: CausalFlow, states: list[LatentClip], earlier: CausalFlow | None = None
) -> tuple[StateSync, WindowFlow]:
    """The sync expert and the teacher, both in the units of ``units``.

    The teacher begins with the audio encoder of ``earlier`` where that has its width.
    """
    recipe = run.recipe
    expert, teacher = new_scorers(recipe, units)
    expert = train_state_sync(expert, units, states, recipe.sync, run.runs / "sync", **run.stage_options())
    if earlier is None:
        load_audio_encoder(run, teacher)
    elif earlier.config.width == teacher.config.width:
        teacher.audio.load_state_dict(earlier.audio.state_dict())
    return expert, train_teacher(teacher, states, recipe.teacher, run.runs / "teacher", **run.stage_options())


def _report_validation(
    run: MiniRun,
    name: str,
    networks: MiniNetworks,
    network: CausalFlow,
    held_out: list[LatentClip],
    config: MiniConfig,
) -> None:
    if held_out and run.runtime.is_main:
        figures = causal.validate(
            network, networks.encoder, held_out, config.schedule, temperature=config.temperature
        )
        run.report(f"{name}, held-out speakers: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))


def _previews(run: MiniRun, clips: list[ClipData], folder: Path) -> Callable[[Autoencoder, int], None]:
    """A picture and a line at every save."""

    def on_save(average: Autoencoder, step: int) -> None:
        picture, error = save_preview(average, clips, folder / f"preview-{step:05d}.png")
        if run.runtime.board is not None:
            run.runtime.board.picture(folder.name, step, picture)
        run.report(f"{folder.name}, step {step}: mean error {error:.4f}")

    return on_save


def _training_clips(run: MiniRun) -> list[ClipData]:
    clips = run.clips("train")
    if not clips:
        raise InputError(f"{run.data} has no usable clip in its train split.", hint="Add clips of talking people.")
    return clips
