"""The sync expert: its windows, its loss, its stage, and the figures it is judged by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lipsync_cli import hub
from lipsync_cli.core.errors import InputError, ModelError
from lipsync_cli.evaluation.measures.sync_mini import ExpertMeter, load_expert
from lipsync_cli.nn.sync.sync_mini import SyncConfig, SyncMini, mouth_windows
from lipsync_cli.training.common.export import export
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.sync import stage as sync
from lipsync_cli.training.sync.check import SHIFTS, check_expert, offset_errors
from lipsync_cli.training.sync.data import SyncClip, cut_mouths, disturb_picture, plain_mouths, sync_batches
from lipsync_cli.training.sync.run import load_mouths, train_sync
from lipsync_cli.training.sync.stage import SyncRecipe, sync_losses
from tests.helpers.paths import ROOT
from tests.helpers.prepared_folder import write_prepared

SMALL = SyncConfig(picture=(4, 4, 8, 8), sound=(4, 4, 8), features=16, embedding=24)
TINY = SyncRecipe(steps=4, clips=3, frames=20, save_every=2, warmup=1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [("train", "a"), ("train", "a"), ("train", "b"), ("val", "c")]
    return write_prepared(tmp_path_factory.mktemp("runs") / "prepared", clips, frames=26)


@pytest.fixture(scope="module")
def expert() -> SyncMini:
    torch.manual_seed(0)
    return SyncMini(SMALL).eval()


def test_the_shipped_size_is_within_what_a_reward_may_cost() -> None:
    network = SyncMini().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) <= 1.5e6
    operations = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal operations
        # Two for each weight at each place of the output; a linear layer's weights are used once a row.
        places = output.numel() // output.shape[1 if output.dim() > 2 and not isinstance(layer, nn.Linear) else -1]
        operations += 2 * places * layer.weight.numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(torch.rand(1, 16, 48, 80), torch.rand(1, 64, 80))
    assert 0.1e9 < operations <= 0.15e9


@settings(max_examples=8)
@given(st.integers(16, 24), st.integers(0, 8))
def test_a_window_alone_is_embedded_as_within_the_clip(frames: int, at: int) -> None:
    torch.manual_seed(0)
    network = SyncMini(SMALL).eval()
    mouths, mel = torch.rand(1, frames, 48, 80), torch.randn(1, 4 * frames, 80)
    at = min(at, frames - 16)
    picture, sound = network.picture(mouths), network.sound(mel)
    assert picture.shape == sound.shape == (1, frames - 15, 24)
    torch.testing.assert_close(network.picture(mouths[:, at : at + 16])[0, 0], picture[0, at], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network.sound(mel[:, 4 * at : 4 * at + 64])[0, 0], sound[0, at], atol=1e-5, rtol=1e-4)


def test_cosines_are_probabilities_and_lead_back_to_the_crops(expert: SyncMini) -> None:
    crops = torch.rand(1, 17, 3, 96, 96, requires_grad=True)
    cosine = expert(mouth_windows(crops), torch.randn(1, 68, 80))
    assert cosine.shape == (1, 2)
    assert (cosine >= 0).all() and (cosine <= 1 + 1e-6).all()
    cosine.sum().backward()
    assert crops.grad is not None
    moved = crops.grad.abs().sum((0, 1, 2))
    assert moved[40:70, 20:76].sum() > 0
    assert moved[:30].sum() == 0 and moved[80:].sum() == 0


def test_mouth_windows_are_the_same_part_at_every_size() -> None:
    large = torch.zeros(2, 3, 256, 256)
    large[:, :, 96:192, 48:208] = 1
    for size in (96, 192, 256):
        crop = torch.nn.functional.interpolate(large, (size, size), mode="area")
        assert mouth_windows(crop).shape == (2, 48, 80)
        assert mouth_windows(crop).min() > 0.99
    assert mouth_windows(large, margin=1).shape == (2, 64, 96)
    assert mouth_windows(large, margin=1)[:, :7].max() < 0.5
    with pytest.raises(ValueError, match="multiple of 16"):
        mouth_windows(torch.zeros(1, 3, 100, 100))


def test_the_loss_of_perfect_and_of_ignorant_embeddings() -> None:
    perfect = torch.eye(12)[None].repeat(2, 1, 1)
    clip = torch.tensor([0, 0])
    losses = sync_losses(perfect, perfect, clip, torch.tensor(50.0), tolerance=2)
    assert losses.matching < 1e-3 and losses.choice < 1e-3 and losses.hit == 1
    # One direction for everything: every cosine is c, so −(log c + log(1 − c)) / 2 and a uniform choice.
    half = torch.zeros(2, 12, 2)
    half[..., 0] = 1
    other = torch.full((2, 12, 2), 0.5)
    other[..., 1] = 0.75**0.5
    ignorant = sync_losses(half, other, torch.tensor([0, 1]), torch.tensor(10.0), tolerance=2)
    assert float(ignorant.matching) == pytest.approx(np.log(2), abs=1e-4)
    # Ends lose one neighbour to the tolerance, the rest two.
    assert float(ignorant.choice) == pytest.approx((2 * np.log(11) + 10 * np.log(10)) / 12, abs=1e-4)


def test_neighbours_are_neither_right_nor_wrong() -> None:
    rows = torch.rand(1, 10, 6)
    base = sync_losses(rows, rows, torch.tensor([0]), torch.tensor(5.0), tolerance=10).matching
    assert torch.isfinite(base)


def test_a_stopped_and_resumed_stage_equals_an_unbroken_one(prepared: Path, tmp_path: Path) -> None:
    clips = cut_mouths(load_clips(prepared, "train"))

    def stop(expert: SyncMini, step: int) -> None:
        raise KeyboardInterrupt

    whole = sync.train(clips, TINY, tmp_path / "whole", config=SMALL).state_dict()
    with pytest.raises(KeyboardInterrupt):
        sync.train(clips, TINY, tmp_path / "parts", config=SMALL, on_save=stop)
    torch.rand(7)
    parts = sync.train(clips, TINY, tmp_path / "parts", config=SMALL).state_dict()
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    assert json.loads((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[0])["step"] == 0


def test_batches_are_a_function_of_their_seed_and_stay_inside_the_clip(prepared: Path) -> None:
    clips = cut_mouths(load_clips(prepared, "train"))
    one, two = (next(sync_batches(clips, size=3, frames=20, seed=7)) for _ in range(2))
    assert torch.equal(one.mouths, two.mouths) and torch.equal(one.mel, two.mel)
    assert one.mouths.shape == (3, 20, 48, 80) and one.mel.shape == (3, 80, 80)
    assert sorted(one.clip.tolist()) == [0, 1, 2]
    assert not torch.equal(next(sync_batches(clips, size=3, frames=20, seed=8)).mel, one.mel)


def test_an_undisturbed_picture_is_what_the_margin_surrounds() -> None:
    mouths = np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8)
    assert torch.equal(plain_mouths(mouths), torch.from_numpy(mouths[:, 8:-8, 8:-8]).float() / 255)

    class Calm(np.random.Generator):
        """Draws the middle of everything."""

        def normal(self, loc=0.0, scale=1.0, size=None):
            return loc if size is None else np.full(size, loc)

        def random(self, *args):
            return 0.99

        def uniform(self, low=0.0, high=1.0, size=None):
            return {0.65: 1.0, 0.7: 1.0, 0: 0.0}[low]

    calm = disturb_picture(torch.from_numpy(mouths).float() / 255, Calm(np.random.PCG64(0)))
    torch.testing.assert_close(calm, plain_mouths(mouths).clamp(1e-3, 1), atol=2e-4, rtol=0)


def test_from_prepared_clips_to_weights_that_eval_loads(prepared: Path, tmp_path: Path, monkeypatch) -> None:
    model = tmp_path / "model"
    model.mkdir()
    card = (ROOT / "models" / "sync-mini" / "model.toml").read_text()
    (model / "model.toml").write_text(card)
    said: list[str] = []
    recipe = SyncRecipe(steps=1, clips=2, frames=20, save_every=1)
    train_sync(prepared, tmp_path / "runs", model, recipe, say=said.append)
    assert any(line.startswith("step 1: 1 clips") for line in said)
    loaded = load_expert(model)
    crops = np.random.default_rng(0).integers(0, 256, (18, 192, 192, 3), dtype=np.uint8)
    meter = ExpertMeter(loaded)
    for crop in crops:
        meter.add(crop)
    assert meter.finish()[0].embeddings.shape == (3, 256)
    weights = model / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match="damaged"):
        load_expert(model)


def test_an_export_in_half_precision_changes_little(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = SyncMini().eval()
    export(network, tmp_path, hub.load_card("sync-mini"), role="expert", source="here")
    mouths, mel = torch.rand(1, 16, 48, 80), torch.randn(1, 64, 80)
    with torch.no_grad():
        torch.testing.assert_close(load_expert(tmp_path)(mouths, mel), network(mouths, mel), atol=2e-3, rtol=0)


def test_offsets_of_ideal_embeddings_are_recovered_exactly() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (60, 64)).clip(0).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert offset_errors(rows, rows) == [0] * len(SHIFTS)
    assert set(offset_errors(rows[3:], rows[:-3])) == {-3}


def test_checks_of_an_expert_that_knows_nothing(expert: SyncMini, prepared: Path) -> None:
    still = SyncClip(np.full((60, 64, 96), 128, np.uint8), np.zeros((240, 80), np.float32), "a", "a.mp4")
    check = check_expert(expert, [still])
    assert (check.clips, check.offset_clips) == (1, 1)
    assert check.window_order < 0.5 and check.window_accuracy == pytest.approx(0.5)
    with pytest.raises(ValueError, match="24 frames"):
        check_expert(expert, [])


def test_a_folder_without_long_enough_clips_is_an_input_error(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prepared clips"):
        load_mouths(tmp_path, "train", frames=28)
    with pytest.raises(InputError, match="no clip of 28 frames"):
        load_mouths(prepared, "train", frames=28)
