"""Small runs of training stages, which two processes and one can both do.

As a program, ``small_stages.py OUT PREPARED`` does all of them as one of several processes started as torchrun does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.flow_backbone import AudioWindowEncoder, FlowConfig
from lipsync_cli.engines.mini.nn.state_sync import StateSync
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.nn.transformer import OmniSyncTransformer
from lipsync_cli.nn.sync.sync_mini import SyncConfig
from lipsync_cli.training.common.launch import started
from lipsync_cli.training.common.loop import Pace, Stage
from lipsync_cli.training.common.runtime import Runtime
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.mini.adversarial import AdversarialRecipe, train_adversarial
from lipsync_cli.training.mini.autoencoder import Autoencoder, AutoencoderRecipe, train_autoencoder
from lipsync_cli.training.mini.causal import CausalRecipe, train_causal
from lipsync_cli.training.mini.espeak import UNKNOWN
from lipsync_cli.training.mini.latents import LatentClip
from lipsync_cli.training.mini.phones import LabelledMel, PhonesRecipe, train_phones
from lipsync_cli.training.mini.points import PointsRecipe, train_points
from lipsync_cli.training.mini.state_sync import StateSyncRecipe, train_state_sync
from lipsync_cli.training.mini.student import StudentRecipe, train_student
from lipsync_cli.training.mini.teacher import TeacherRecipe, train_teacher
from lipsync_cli.training.omnisync.data import EncodedClip
from lipsync_cli.training.omnisync.pairing import PairClip
from lipsync_cli.training.omnisync.stage import OmniSyncRecipe, train_transformer
from lipsync_cli.training.stable_sync.stage import StableSyncRecipe, new_network, train_network
from lipsync_cli.training.sync.data import cut_mouths
from lipsync_cli.training.sync.stage import SyncRecipe, train_expert
from tests.helpers.stable_clips import TINY, made_clips

SMALL_SYNC = SyncConfig(picture=(4, 4, 8, 8), sound=(4, 4, 8), features=16, embedding=24)
LATENT = 6
SMALL = FlowConfig(LATENT, 16, 1, 2, chunk=4, window=8)
WINDOWS = {"batch": 4, "frames": (16, 20), "warmup": 1}
Weights = dict[str, torch.Tensor]
Small = Callable[[Path, Path, Runtime], Weights]


def tiny_phase(size: int, steps: int, **changes) -> AutoencoderRecipe:
    """A joint phase of one sequence a step that saves at every second step."""
    values = {"crop_size": size, "steps": steps, "sequences": 1, "targets": 2, "references": 2, "save_every": 2}
    return AutoencoderRecipe(**(values | changes))


def fresh() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder()


def awake(network: torch.nn.Module, seed: int = 1) -> torch.nn.Module:
    """Layers that start at zero would leave others without a gradient and make every comparison trivially true."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def states() -> list[LatentClip]:
    rng = np.random.default_rng(0)
    return [
        LatentClip(
            torch.from_numpy(rng.normal(size=(40, LATENT)).astype(np.float32)),
            rng.normal(size=(2 * MEL_MARGIN + 160, 80)).astype(np.float32),
            rng.uniform(60, 130, (40, 68, 2)).astype(np.float32),
            speaker,
        )
        for speaker in "aab"
    ]


def small_autoencoder(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    recipe = AutoencoderRecipe(crop_size=32, steps=3, sequences=2, targets=2, references=2, warmup=1)
    return train_autoencoder(fresh(), load_clips(prepared, "train"), recipe, folder, runtime=runtime).state_dict()


def small_points(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    recipe = PointsRecipe(steps=3, clips=2, frames=3)
    return train_points(fresh().encoder, load_clips(prepared, "train"), recipe, folder, runtime=runtime).state_dict()


def small_adversarial(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    recipe = AdversarialRecipe(
        crop_size=64, network_size=32, steps=4, sequences=2, targets=2, references=2, critic_only=1, save_every=2,
        warmup=1,
    )  # fmt: skip
    clips = load_clips(prepared, "train")
    return train_adversarial(fresh(), clips, recipe, folder, runtime=runtime).renderer.state_dict()


def small_phones(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    rng = np.random.default_rng(0)
    speech = []
    for _ in range(5):
        classes = rng.integers(0, 6, 90)
        classes[rng.integers(0, 90, 30)] = UNKNOWN
        speech.append(LabelledMel(rng.normal(size=(90, 80)).astype(np.float32), classes))
    torch.manual_seed(0)
    recipe = PhonesRecipe(steps=3, batch=4, frames=6)
    return train_phones(AudioWindowEncoder(16), speech, recipe, folder, runtime=runtime).state_dict()


def flow(kind: type[torch.nn.Module]) -> torch.nn.Module:
    torch.manual_seed(0)
    return awake(kind(SMALL))


def small_state_sync(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    torch.manual_seed(0)
    expert, units = StateSync(LATENT), runtime.place(flow(CausalFlow))
    recipe = StateSyncRecipe(steps=3, **WINDOWS)
    return train_state_sync(expert, units, states(), recipe, folder, runtime=runtime).state_dict()


def small_teacher(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    recipe = TeacherRecipe(steps=3, **WINDOWS)
    return train_teacher(flow(WindowFlow), states(), recipe, folder, runtime=runtime).state_dict()


def small_causal(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    recipe = CausalRecipe(steps=3, **WINDOWS)
    return train_causal(flow(CausalFlow), states(), recipe, folder, runtime=runtime).state_dict()


def small_student(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    torch.manual_seed(0)
    expert = awake(StateSync(LATENT))
    student, teacher = flow(CausalFlow), flow(WindowFlow)
    recipe = StudentRecipe(steps=4, every=2, save_every=2, truth=0.5, **WINDOWS)
    return train_student(student, teacher, expert, states(), recipe, folder, runtime=runtime).state_dict()


def small_sync(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    recipe = SyncRecipe(steps=2, clips=4, frames=20, warmup=1)
    clips = cut_mouths(load_clips(prepared, "train"))
    return train_expert(clips, recipe, folder, config=SMALL_SYNC, runtime=runtime).state_dict()


def small_stable_sync(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    recipe = StableSyncRecipe(steps=3, batch=8, at_once=3, learning_rate=1e-4)
    return train_network(new_network(recipe, TINY), made_clips(), recipe, folder, runtime=runtime).state_dict()


def small_omnisync(prepared: Path, folder: Path, runtime: Runtime) -> Weights:
    rng = np.random.default_rng(0)
    config = OmniSyncConfig(
        crop_size=16, width=24, feed_forward=16, layers=1, heads=2, time_frequencies=4, codec="pixels", pixel_fold=4,
        speech="mel", text_width=8, audio_reach=0, window=4, overlap=1,
    )  # fmt: skip
    clips = [
        EncodedClip(
            rng.normal(size=(20, 48, 4, 4)).astype(np.float16),
            rng.normal(size=(20, 2, 160)).astype(np.float16),
            PairClip.of(speaker, rng.uniform(60, 130, (20, 68, 2))),
        )
        for speaker in "ab"
    ]
    torch.manual_seed(0)
    network = awake(OmniSyncTransformer(config.transformer()))
    text = torch.from_numpy(rng.normal(size=(1, 4, 8)).astype(np.float32))
    recipe = OmniSyncRecipe(steps=3, batch=4, warmup=1, learning_rate=1e-3)
    return train_transformer(network, clips, text, recipe, config, folder, runtime=runtime).state_dict()


STAGES: Mapping[str, Small] = {
    "autoencoder": small_autoencoder, "points": small_points, "adversarial": small_adversarial,
    "phones": small_phones, "state_sync": small_state_sync, "teacher": small_teacher,
    "causal": small_causal, "student": small_student,
    "stable_sync": small_stable_sync, "omnisync": small_omnisync,
}  # fmt: skip
"""Stages that do the same however many processes share a batch."""


class Stopped(Exception):
    pass


def stopped_at_first_save(small: Small, prepared: Path, folder: Path, runtime: Runtime) -> None:
    """Run a stage as far as its first checkpoint, in every process."""
    save = Stage.save

    def stop(stage: Stage) -> None:
        save(stage)
        raise Stopped

    Stage.save = stop
    try:
        small(prepared, folder, runtime)
    except Stopped:
        runtime.wait()
    finally:
        Stage.save = save


def main(out: Path, prepared: Path) -> None:
    with started("cpu") as runtime:
        results = {name: small(prepared, out / name, runtime) for name, small in STAGES.items()}
        results["sync"] = small_sync(prepared, out / "sync", runtime)
        for name in ("adversarial", "student"):
            stopped_at_first_save(STAGES[name], prepared, out / f"{name}-parts", runtime)
            results[f"{name}-parts"] = STAGES[name](prepared, out / f"{name}-parts", runtime)
        # Only the main process's clock says that time is up.
        late = time.monotonic() - 1 if runtime.is_main else None
        stage = Stage(out / "late", {"n": torch.nn.Linear(1, 1)}, {}, averaged="n", runtime=runtime)
        stage.run(lambda step: {}, Pace(5, deadline=late or time.monotonic() + 1000))
        results["late"] = {"step": torch.tensor(stage.step)}
        torch.save(results, out / f"rank{runtime.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
