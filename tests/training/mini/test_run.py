"""Whole runs of lip-forcing-mini, in tiny: from prepared clips to weights that the generator loads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from lipsync_cli import hub
from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.engines.mini.config import read_config
from lipsync_cli.engines.mini.generator import load_networks
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.flow_backbone import FlowConfig
from lipsync_cli.training.common.runtime import Runtime
from lipsync_cli.training.common.wall_times import stage_times
from lipsync_cli.training.dataset.audio_augment import AudioAugmentRecipe
from lipsync_cli.training.mini.adversarial import AdversarialRecipe
from lipsync_cli.training.mini.causal import CausalRecipe
from lipsync_cli.training.mini.phones import PhonesRecipe
from lipsync_cli.training.mini.points import PointsRecipe
from lipsync_cli.training.mini.recipe import MiniRecipe
from lipsync_cli.training.mini.run import MiniRun, interpolated, train_all
from lipsync_cli.training.mini.state_sync import StateSyncRecipe
from lipsync_cli.training.mini.student import StudentRecipe
from lipsync_cli.training.mini.teacher import TeacherRecipe
from lipsync_cli.training.mini.trajectory import analyse
from tests.helpers.small_stages import tiny_phase
from tests.helpers.weights import assert_same, weights_of


def test_train_all_ends_in_weights_that_load(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lipsync_cli.training.mini.run.analyse", partial(analyse, scales=(1.0, 3.0), frames=16, size=2)
    )
    windows = {"steps": 2, "batch": 2, "frames": (16, 20)}
    recipe = MiniRecipe(
        autoencoder=(tiny_phase(32, 2),),
        points=PointsRecipe(steps=2, clips=2, frames=2),
        adversarial=AdversarialRecipe(
            crop_size=64, network_size=32, steps=2, sequences=1, targets=2, references=2, critic_only=1, save_every=2
        ),
        phones=PhonesRecipe(utterances=4, steps=2, batch=2, frames=4),
        sync=StateSyncRecipe(**windows),
        teacher=TeacherRecipe(**windows, width=16, layers=1, heads=2),
        causal=CausalRecipe(**windows),
        student=StudentRecipe(**(windows | {"steps": 3})),
        audio_augment=AudioAugmentRecipe(variants=1),
    )
    said: list[str] = []
    run = MiniRun(prepared, tmp_path / "runs", recipe, said.append)
    path = train_all(run, tmp_path / "model")
    card = hub.load_card(path.parent)
    config = read_config(card.generator, model=card.name)
    assert (card.kind, config.crop_size, config.network_size) == ("lip-forcing-mini", 64, 32)
    networks = load_networks(hub.resolve_weights(card, "networks"), config)
    assert all(torch.isfinite(value).all() for value in networks.state_dict().values())
    assert [line.split(",")[0] for line in said if "held-out" in line] == ["causal", "student"]
    assert list((tmp_path / "runs" / "adversarial").glob("preview-*.png"))
    assert said[-1].splitlines()[-1] == f"wrote {path}"
    counted = {stage.name: stage.steps for stage in stage_times(run.runs)}
    assert {"autoencoder-32", "points", "adversarial", "sync", "teacher", "causal", "student"} <= counted.keys()
    assert all(steps >= 1 for steps in counted.values())
    again = train_all(run, tmp_path / "again")
    assert again.read_bytes() == path.read_bytes(), "a finished run trains nothing more"


def test_train_all_goes_on_from_another_model(prepared: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        "lipsync_cli.training.mini.run.analyse", partial(analyse, scales=(1.0, 3.0), frames=16, size=2)
    )
    windows = {"steps": 2, "batch": 2, "frames": (16, 20)}
    first = MiniRecipe(autoencoder=(tiny_phase(64, 1),), points=PointsRecipe(steps=1, clips=2, frames=2),
                       causal=CausalRecipe(**windows))  # fmt: skip
    start = train_all(MiniRun(prepared, tmp_path / "first", first, lambda line: None), tmp_path / "model").parent
    on = MiniRecipe(
        autoencoder=(), mirrored=True, sync=StateSyncRecipe(**windows), causal=CausalRecipe(**windows),
        teacher=TeacherRecipe(**windows, width=16, layers=1, heads=2), student=StudentRecipe(**windows),
    )  # fmt: skip
    with pytest.raises(UsageError, match="needs a model to start from"):
        train_all(MiniRun(prepared, tmp_path / "nothing", on, lambda line: None), tmp_path / "none")
    run = MiniRun(prepared, tmp_path / "second", on, lambda line: None, start=str(start))
    card = hub.load_card(train_all(run, tmp_path / "on").parent)
    config = read_config(card.generator, model=card.name)
    before, after = (load_networks(folder / "weights.safetensors", config) for folder in (start, tmp_path / "on"))
    assert_same(weights_of(before.encoder), weights_of(after.encoder))
    assert_same(weights_of(before.renderer), weights_of(after.renderer))
    assert_same({"mean": before.flow.latent_mean, "std": before.flow.latent_std},
                {"mean": after.flow.latent_mean, "std": after.flow.latent_std})  # fmt: skip
    moved = (before.flow.velocity.weight - after.flow.velocity.weight).detach().abs().max()
    assert 0 < float(moved) < 0.1, "the flow goes on from where it was"
    assert not (tmp_path / "second" / "points").exists()


def test_interpolated_moves_weights_a_part_of_the_way() -> None:
    def flow(seed: int) -> CausalFlow:
        torch.manual_seed(seed)
        return CausalFlow(FlowConfig(6, 16, 1, 2, chunk=4, window=8))

    former, taught = flow(0), flow(1)
    assert interpolated(None, taught, 0.5) is taught
    half = interpolated(former, taught, 0.5)
    torch.testing.assert_close(half.state_in.weight, (former.state_in.weight + taught.state_in.weight) / 2)
    assert_same(weights_of(interpolated(former, taught, 0.0)), weights_of(former))


def test_train_all_without_clips_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prepared clips"):
        train_all(MiniRun(tmp_path, tmp_path, MiniRecipe(), print), tmp_path)


def test_train_all_refuses_a_batch_that_processes_cannot_share(prepared, tmp_path):
    run = MiniRun(prepared, tmp_path / "runs", MiniRecipe(), print, runtime=Runtime(processes=3, parts=3))
    with pytest.raises(UsageError, match=r"autoencoder\[0\].sequences = 4 of the recipe .* among 3 processes"):
        train_all(run, tmp_path / "model")
    assert not list(tmp_path.iterdir())
