"""From prepared clips to a file of StableSyncNet, as public ones are, that ``lipsync eval --stable-sync`` reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from lipsync_cli.core.errors import UsageError
from lipsync_cli.nn.sync.stable_syncnet import CONFIGS, StableSyncConfig
from lipsync_cli.nn.sync.stable_syncnet_file import save_stable_syncnet
from lipsync_cli.training.common.loop import deadline_in, with_weights
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.sync.stable_data import load_aligned
from lipsync_cli.training.sync.stable_stage import PairCheck, StableSyncRecipe, check_pairs, new_network, train

Say = Callable[[str], None]


def train_stable_sync(
    data: Path,
    runs: Path,
    file: Path,
    recipe: StableSyncRecipe,
    *,
    config: StableSyncConfig | None = None,
    minutes: float | None = None,
    say: Say,
    runtime: Runtime = ALONE,
) -> Path:
    """Train on ``data`` (prepared) under ``runs``, resuming there, and write ``file`` at every save; returns it.

    ``config`` replaces the recipe's named one. Every save is measured on the val split, into ``runs/val.jsonl``. Of
    several processes the main one measures, says and writes. Raises InputError when the folder holds no usable clips,
    UsageError for a network that there is not or with which the run did not begin.
    """
    chosen = config or _named(recipe.config)
    runtime.check_batch(recipe.batch, "batch")
    _same_network(runs, chosen, runtime)
    clips = load_aligned(data, "train", chosen, runs / "aligned")
    held_out = load_aligned(data, "val", chosen, runs / "aligned")
    network = new_network(recipe, chosen)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    say(
        f"{sum(len(clip.halves) for clip in clips)} frames of {len(clips)} clips, {parameters / 1e6:.1f} M parameters"
    )

    def on_save(weights: dict[str, Tensor], step: int) -> None:
        save_stable_syncnet(file, weights, chosen, step=step)
        check = check_pairs(with_weights(network, weights), held_out, recipe, runtime)
        with (runs / "val.jsonl").open("a") as log:
            log.write(json.dumps({"step": step, **{k: round(v, 5) for k, v in asdict(check).items()}}) + "\n")
        say(f"step {step}: {describe(check)}")

    weights, step = train(
        network, clips, recipe, runs, on_save=on_save, deadline=deadline_in(minutes), runtime=runtime
    )
    if runtime.is_main and (step % recipe.save_every or not file.is_file()):
        on_save(weights, step)
    if runtime.is_main:
        say(f"wrote {file}, {step} of {recipe.steps} steps")
    return file


def describe(check: PairCheck) -> str:
    """A check in one line."""
    return (
        f"held-out loss {check.loss:.3f} (0.693 is chance), {check.accuracy:.3f} right, cosine {check.matched:.3f} "
        f"together and {check.unmatched:.3f} apart"
    )


def _named(name: str) -> StableSyncConfig:
    trained = [key for key, config in CONFIGS.items() if config.sees_pixels]
    if name not in CONFIGS:
        raise UsageError(f"There is no StableSyncNet called {name!r}.", hint=f"Choose among {', '.join(trained)}.")
    if name not in trained:
        raise UsageError(
            f"{name} compares VAE latents, and prepared clips hold pictures.", hint=f"Use {', '.join(trained)}."
        )
    return CONFIGS[name]


def _same_network(runs: Path, config: StableSyncConfig, runtime: Runtime) -> None:
    """A run goes on with the network it began with."""
    path, told = runs / "config.json", json.dumps(asdict(config))
    if path.is_file() and path.read_text() != told:
        raise UsageError(
            f"{runs} holds a run of another network.", hint="Give the --config it began with, or other --runs."
        )
    runtime.wait()  # nobody writes before all have looked
    if runtime.is_main:
        runs.mkdir(parents=True, exist_ok=True)
        path.write_text(told)
