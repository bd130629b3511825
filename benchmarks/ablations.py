"""What each part of the recipe is worth: ``python -m benchmarks.ablations PREPARED RUNS [--only ROW] …``.

RUNS is the folder of a finished ``lipsync train mini``; its encoder, teacher, sync expert and causal network are used
as they are, and every row trains only what it changes, into ``RUNS/ablations/NAME`` (resumable). Everything is
measured on states: generated from the clip's sound alone, references from its first second, clips of two seconds or
more.

Columns: correlation of the lip opening with dlib's of the real lips, its spread against the real one's, distance of
the lip points over inter-ocular distance after removing the mean, confidence of the sync expert, motion against the
real one's.

``--only ROW --export DIR`` also writes a model folder that speaks like that row and draws like the shipped model, so
that ``lipsync eval --model DIR`` can judge it on rendered pixels.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipsync_cli import hub
from lipsync_cli.core.landmarks68 import interocular_px, mouth_aperture
from lipsync_cli.engines.mini.config import MiniConfig
from lipsync_cli.engines.mini.generator import MiniNetworks
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.state_sync import StateSync, confidence
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.training.common.export import export
from lipsync_cli.training.common.loop import with_weights
from lipsync_cli.training.dataset.loader import choose_references, load_clips
from lipsync_cli.training.mini import causal
from lipsync_cli.training.mini.latents import LatentClip, audio_windows, encode_clips
from lipsync_cli.training.mini.recipe import MiniRecipe
from lipsync_cli.training.mini.run import MiniRun, new_scorers, speech_network
from lipsync_cli.training.mini.student import StudentRecipe, train_student
from lipsync_cli.training.mini.trajectory import times

STEPS = {1: (0.999,), 2: (0.999, 0.65), 4: (0.999, 0.85, 0.65, 0.4)}
TRAINED = (
    "regression, 1 step", "student, guidance at all times", "student, no reward", "student, no guidance",
    "student, no truth", "student, no temporal term",
)  # fmt: skip
Speak = Callable[[LatentClip, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Speaker:
    """Speaking with a causal network, as ``dub`` does; ``temperature`` unset leaves the noise of every step whole."""

    network: CausalFlow
    schedule: tuple[float, ...]
    temperature: tuple[float, ...] | None = None

    def __call__(self, clip: LatentClip, references: Tensor) -> Tensor:
        return causal.rollout_clip(self.network, clip, references, self.schedule, temperature=self.temperature)


@dataclass(frozen=True, slots=True)
class TrainedParts:
    """A finished run's parts, the shipped networks, and the clips to train on and to judge by. ``earlier`` is what
    the run began with, unset where that was nothing."""

    run: MiniRun
    shipped: MiniNetworks
    causal: CausalFlow
    student: CausalFlow
    teacher: WindowFlow
    expert: StateSync
    train: Callable[[], list[LatentClip]]
    held_out: list[LatentClip]
    crop_size: int
    earlier: CausalFlow | None = None

    @property
    def folder(self) -> Path:
        """Where rows train."""
        return self.run.runs / "ablations"

    def whole(self, guidance: float, steps: int) -> Speak:
        """Speaking with the bidirectional teacher over the whole clip, many Euler steps."""

        def speak(clip: LatentClip, references: Tensor) -> Tensor:
            teacher = self.teacher
            audio = teacher.audio(audio_windows(clip.mel, 0, len(clip.z))[None])
            x = times(steps, 3.0)[0] * torch.randn(1, *clip.z.shape, generator=torch.Generator().manual_seed(0))
            moments = [*times(steps, 3.0), 0.0]
            for now, after in pairwise(moments):
                x0 = teacher.guided(x, torch.tensor([now]), audio, teacher.normalise(references)[None], guidance)
                x = x0 + (x - x0) * (after / now)
            return teacher.denormalise(x[0])

        return speak

    def distilled(self, name: str, **changes: object) -> CausalFlow:
        """A student whose recipe differs in ``changes``."""
        recipe = (self.run.recipe.student or StudentRecipe()).replaced(**changes)
        start = with_weights(self.causal, self.causal.state_dict()).train()
        return train_student(start, self.teacher, self.expert, self.train(), recipe, self.folder / name)

    def regression(self) -> Speaker:
        """The same network from the same start, trained to predict the mean for as many steps as the causal one."""
        recipe = causal.regression(self.run.recipe.causal)
        start = speech_network(self.run, self.train(), self.shipped.encoder, MiniConfig(), self.earlier)
        network = causal.train_causal(start, self.train(), recipe, self.folder / "regression")
        return Speaker(network, recipe.schedule, (recipe.noise,))


def rows(parts: TrainedParts) -> dict[str, Callable[[], tuple[Speak, int]]]:
    """Name → what speaks and how many references it gets."""
    window = {"sync_window": (0.0, 1.0)}
    made: dict[str, Callable[[], tuple[Speak, int]]] = {
        "regression, 1 step": lambda: (parts.regression(), 3),
    }
    for name, network in (("causal", parts.causal), ("student", parts.student)):
        for count, schedule in STEPS.items():
            made[f"{name}, {count} steps"] = lambda n=network, s=schedule: (Speaker(n, s), 3)  # type: ignore[misc]
    made |= {
        "student, guidance at all times": lambda: (Speaker(parts.distilled("no-window", **window), STEPS[2]), 3),
        "student, no reward": lambda: (Speaker(parts.distilled("no-reward", reward=0.0), STEPS[2]), 3),
        "student, no guidance": lambda: (Speaker(parts.distilled("no-guidance", guidance=1.0), STEPS[2]), 3),
        "student, no truth": lambda: (Speaker(parts.distilled("no-truth", truth=0.0), STEPS[2]), 3),
        "student, no temporal term": lambda: (Speaker(parts.distilled("no-temporal", temporal=0.0), STEPS[2]), 3),
        "bidirectional teacher, 25 steps": lambda: (parts.whole(1.0, 25), 3),
        "bidirectional teacher, 25 steps, guidance 2": lambda: (parts.whole(2.0, 25), 3),
    }
    for count in (1, 2, 5):
        made[f"student, 2 steps, {count} references"] = lambda c=count: (Speaker(parts.student, STEPS[2]), c)  # type: ignore[misc]
    return made


@torch.no_grad()
def measure(parts: TrainedParts, speak: Speak, references: int) -> np.ndarray:
    """Clip means of the columns."""
    rng, figures = np.random.default_rng(0), []
    for clip in parts.held_out:
        chosen = clip.z[torch.from_numpy(choose_references(clip.landmarks[:25], references, rng))]
        z = speak(clip, chosen)
        real = np.array([mouth_aperture(marks) for marks in clip.landmarks])
        made, read = parts.shipped.encoder.aperture(z).numpy(), parts.shipped.encoder.aperture(clip.z).numpy()
        if min(real.std(), made.std()) < 1e-6:
            continue
        lips = parts.shipped.encoder.landmarks(z)[:, :20].numpy() * parts.crop_size - 0.5
        apart = (lips - lips.mean(0)) - (clip.landmarks[:, 48:68] - clip.landmarks[:, 48:68].mean(0))
        eyes = np.mean([interocular_px(marks) for marks in clip.landmarks])
        sound = audio_windows(clip.mel, 0, len(clip.z))[None]
        sync = float(confidence(parts.expert.agreement(parts.student.normalise(z)[None], sound)))
        motion = float(z.diff(dim=0).abs().mean() / clip.z.diff(dim=0).abs().mean())
        figures.append(
            (np.corrcoef(real, made)[0, 1], made.std() / read.std(), np.linalg.norm(apart, axis=-1).mean() / eyes,
             sync, motion)
        )  # fmt: skip
    return np.mean(figures, axis=0)


def load_parts(
    prepared: Path, runs: Path, recipe: MiniRecipe, split: str, model: str, start: str | None = None
) -> TrainedParts:
    """Everything from the checkpoints of ``runs`` and the encoder of the shipped ``model`` that came of it.

    ``start`` is the model that the run began with, if it did.
    """
    from benchmarks.lips import shipped_networks

    networks, _ = shipped_networks(model)
    run = MiniRun(prepared, runs, recipe, sys.stderr.write)

    @cache
    def train() -> list[LatentClip]:
        clips = load_clips(prepared, "train", open_only=recipe.open_only)
        return encode_clips(networks.encoder, clips, recipe.audio_augment, mirrored=recipe.mirrored)

    clips = load_clips(prepared, split)
    held_out = [c for c in encode_clips(networks.encoder, clips) if len(c.z) >= 50]
    expert, teacher = new_scorers(recipe, networks.flow)
    networks_by_stage = {}
    for name, module in (
        ("causal", networks.flow),
        ("student", networks.flow),
        ("sync", expert),
        ("teacher", teacher),
    ):
        state = torch.load(run.runs / name / "checkpoint.pt", weights_only=True)["average"]
        networks_by_stage[name] = with_weights(module, state)
    return TrainedParts(
        run, networks, networks_by_stage["causal"], networks_by_stage["student"], networks_by_stage["teacher"],
        networks_by_stage["sync"], train, held_out, clips[0].record.crop_size,
        None if start is None else shipped_networks(start)[0].flow,
    )  # fmt: skip


def write_model(name: str, speaker: Speaker, base: hub.ModelCard, networks: MiniNetworks, folder: Path) -> Path:
    """A model folder: the card and the ``networks`` of ``base``, but spoken by ``speaker`` and called ``name``.

    Returns the path of the weights. Raises FileExistsError for a folder that holds a card already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hub.CARD_NAME).touch(exist_ok=False)
    hub.write_card(base.model_copy(update={"name": name, "weights": ()}), folder)
    speech = {f"flow.{key}": value for key, value in speaker.network.state_dict().items()}
    whole = with_weights(networks, networks.state_dict() | speech)
    temperature = speaker.temperature or (1.0,) * len(speaker.schedule)
    decided = {"schedule": list(speaker.schedule), "temperature": list(temperature)}
    return export(whole, folder, base, role="networks", source="benchmarks.ablations", **decided)


def export_row(parts: TrainedParts, row: str, speak: Speak, model: str, folder: Path) -> None:
    """Write the model folder of a row that a causal network speaks."""
    if not isinstance(speak, Speaker):
        raise SystemExit(f"{row!r} is not spoken by a causal network: dub cannot use it")
    name = re.sub(r"[^a-z0-9]+", "-", row.lower())
    path = write_model(name, speak, hub.load_card(model), parts.shipped, folder)
    sys.stderr.write(f"wrote {path}\n")


def main() -> None:
    """A Markdown table, row by row as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--recipe", default="mini")
    parser.add_argument("--model", default="lip-forcing-mini", help="the shipped model that came of RUNS")
    parser.add_argument("--split", default="test")
    parser.add_argument("--start", help="the model that RUNS went on from, for recipes that do")
    parser.add_argument("--only", action="append", help="a row, by its name; several times for several")
    parser.add_argument("--untrained", action="store_true", help="only rows that train nothing")
    parser.add_argument("--export", type=Path, help="with --only: write a model folder that speaks like the row")
    given = parser.parse_args()
    if given.export and len(given.only or ()) != 1:
        parser.error("--export needs --only ROW, once")
    parts = load_parts(
        given.prepared, given.runs, MiniRecipe.load(given.recipe), given.split, given.model, given.start
    )
    sys.stdout.write(f"{len(parts.held_out)} clips of the {given.split} split\n\n")
    sys.stdout.write("| | opening, correlation | spread | LMD | sync | motion |\n|---|---|---|---|---|---|\n")
    for name, prepare in rows(parts).items():
        if (given.only is None or name in given.only) and not (given.untrained and name in TRAINED):
            speak, references = prepare()
            if given.export:
                export_row(parts, name, speak, given.model, given.export)
            figures = measure(parts, speak, references)
            sys.stdout.write(f"| {name} | " + " | ".join(f"{value:.3f}" for value in figures) + " |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
