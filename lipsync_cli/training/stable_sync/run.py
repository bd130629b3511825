"""From prepared clips to a file of StableSyncNet, as public ones are, that ``lipsync eval --stable-sync`` reads."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from lipsync_cli.core.errors import UsageError
from lipsync_cli.nn.sync.stable_syncnet import CONFIGS, StableSyncConfig, StableSyncNet
from lipsync_cli.nn.sync.stable_syncnet_file import save_stable_syncnet
from lipsync_cli.training.common.loop import Report, deadline_in, steps_made
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.stable_sync.data import load_aligned
from lipsync_cli.training.stable_sync.stage import (
    PairCheck,
    StableSyncRecipe,
    check_pairs,
    new_network,
    train_network,
)


def train_stable_sync(
    data: Path,
    runs: Path,
    file: Path,
    recipe: StableSyncRecipe,
    *,
    config: StableSyncConfig | None = None,
    minutes: float | None = None,
    report: Report,
    runtime: Runtime = ALONE,
) -> Path:
    """Train on ``data`` (prepared) under ``runs``, resuming there, and write ``file`` at every save; returns it.

    ``config`` replaces the recipe's named one. Every save is measured on the val split, into ``runs/val.jsonl``. Of
    several processes the main one measures, reports and writes. Raises InputError when the folder holds no usable
    clips, UsageError for an unknown network, or another than the run began with.
    """
    chosen = config or _config(recipe.config)
    runtime.check_batch(recipe.batch, "batch")
    _same_network(runs, chosen, runtime)
    clips = load_aligned(data, "train", chosen, runs / "aligned")
    held_out = load_aligned(data, "val", chosen, runs / "aligned")
    network = new_network(recipe, chosen)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    report(
        f"{sum(len(clip.halves) for clip in clips)} frames of {len(clips)} clips, {parameters / 1e6:.1f} M parameters"
    )

    def on_save(averaged: StableSyncNet, step: int) -> None:
        save_stable_syncnet(file, averaged.state_dict(), chosen, step=step)
        check = check_pairs(averaged, held_out, recipe, runtime)
        with (runs / "val.jsonl").open("a") as log:
            log.write(json.dumps({"step": step, **{k: round(v, 5) for k, v in asdict(check).items()}}) + "\n")
        report(f"step {step}: {describe(check)}")

    trained = train_network(
        network, clips, recipe, runs, on_save=on_save, deadline=deadline_in(minutes), runtime=runtime
    )
    step = steps_made(runs)
    if runtime.is_main and (step % recipe.save_every or not file.is_file()):
        on_save(trained, step)
    if runtime.is_main:
        report(f"wrote {file}, {step} of {recipe.steps} steps")
    return file


def describe(check: PairCheck) -> str:
    """A check in one line."""
    return (
        f"held-out loss {check.loss:.3f} (0.693 is chance), accuracy {check.accuracy:.3f}, cosine "
        f"{check.matched:.3f} of matching pairs and {check.unmatched:.3f} of others"
    )


def _config(name: str) -> StableSyncConfig:
    trained = [key for key, config in CONFIGS.items() if config.sees_pixels]
    if name not in CONFIGS:
        raise UsageError(f"There is no StableSyncNet called {name!r}.", hint=f"Choose among {', '.join(trained)}.")
    if name not in trained:
        raise UsageError(
            f"{name} compares VAE latents, and prepared clips hold pictures.", hint=f"Use {', '.join(trained)}."
        )
    return CONFIGS[name]


def _same_network(runs: Path, config: StableSyncConfig, runtime: Runtime) -> None:
    """UsageError unless a run that is resumed began with this network."""
    path, text = runs / "config.json", json.dumps(asdict(config))
    if path.is_file() and path.read_text() != text:
        raise UsageError(
            f"{runs} holds a run of another network.", hint="Give the --config it began with, or other --runs."
        )
    runtime.wait()  # nobody writes before all have read
    if runtime.is_main:
        runs.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
