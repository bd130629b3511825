"""StableSyncNet's stage: its windows and pairs, its loss, exact accumulation and resumption, the file it writes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lipsync_cli.cli.app import app
from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.evaluation.measures.stable_sync import aligned_half, frame_major, load_judge
from lipsync_cli.faces.crop import cut_picture
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.nn.sync.stable_syncnet import CONFIGS
from lipsync_cli.training.dataset.format import CLIP_MARGIN
from lipsync_cli.training.sync.stable_data import AlignedClip, Pair, draw_pairs, load_aligned, load_pairs
from lipsync_cli.training.sync.stable_stage import (
    StableSyncRecipe,
    check_pairs,
    matching_loss,
    new_network,
    train,
)
from tests.helpers.prepared_folder import write_prepared
from tests.helpers.stable_clips import TINY, made_clips

QUICK = StableSyncRecipe(steps=4, batch=4, at_once=3, learning_rate=1e-3, save_every=2, log_every=1, checked=10)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [("train", "a"), ("train", "b"), ("val", "c")]
    return write_prepared(tmp_path_factory.mktemp("stable") / "prepared", clips, frames=36, size=64)


def test_prepared_crops_hold_what_latentsync_looks_at() -> None:
    """Cut from the prepared crop or from the source, the lower half is the same, none of it beyond the edge."""
    small = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    picture = cv2.resize(small, (480, 480), interpolation=cv2.INTER_CUBIC)
    landmarks = MEAN_FACE[:, :2] * 240 + 120
    upright = np.eye(2, 3)
    crop = cut_picture(picture, landmarks, upright, LOWER_FACE, 256)
    via_crop = aligned_half(crop.rgb, crop.landmarks, upright, 128)
    np.testing.assert_allclose(via_crop, aligned_half(picture, landmarks, upright, 128), atol=6)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(32, 80))
def test_pairs_are_windows_of_one_clip(seed: int, apart: int, frames: int) -> None:
    clips = [AlignedClip(np.zeros((n, 1, 2, 3), np.uint8), np.zeros(0, np.float32)) for n in (32, frames)]
    pairs = draw_pairs(clips, 40, seed, frames=16, apart=apart)
    assert pairs == draw_pairs(clips, 40, seed, frames=16, apart=apart)
    for pair in pairs:
        starts = len(clips[pair.clip].halves) - 15
        assert 0 <= pair.seen < starts and 0 <= pair.heard < starts
        farthest = max(pair.seen, starts - 1 - pair.seen)
        assert pair.seen == pair.heard or abs(pair.seen - pair.heard) >= min(apart, farthest)


def test_half_of_the_pairs_belong_together() -> None:
    clips = made_clips()
    matched = [pair.seen == pair.heard for pair in draw_pairs(clips, 2000, 1, frames=16)]
    assert np.mean(matched) == pytest.approx(0.5, abs=0.04)


def test_a_window_hears_the_sound_of_its_frames() -> None:
    clip = AlignedClip(np.zeros((60, 16, 32, 3), np.uint8), np.zeros(2 * CLIP_MARGIN + 60 * 640, np.float32))
    clip.halves[:] = np.arange(60, dtype=np.uint8)[:, None, None, None]
    # A click in the middle of frame 30.
    clip.sound[CLIP_MARGIN + 30 * 640 + 320] = 1
    batch = load_pairs([clip], [Pair(0, 25, 25), Pair(0, 25, 20)], TINY)
    assert batch.pictures.shape == (2, 48, 16, 32) and batch.mels.shape == (2, 1, 80, 52)
    assert batch.matched.tolist() == [1, 0]
    np.testing.assert_array_equal(batch.pictures[0].numpy(), frame_major(clip.halves[25:41]))
    # 5.5 and 10.5 frames into the window, 3.2 columns each.
    loudest = batch.mels.mean((1, 2)).argmax(1).tolist()
    assert loudest == [pytest.approx(17.6, abs=2), pytest.approx(33.6, abs=2)]


def test_the_loss_of_certainty_and_of_ignorance() -> None:
    matched = torch.tensor([1.0, 0.0])
    assert float(matching_loss(torch.tensor([0.5, 0.5]), matched)) == pytest.approx(math.log(2))
    assert float(matching_loss(torch.tensor([1.0, 0.0]), matched)) < 1e-5
    assert float(matching_loss(torch.tensor([0.8, 0.1]), matched)) == pytest.approx(
        -(math.log(0.8) + math.log(0.9)) / 2
    )
    # Rounding may carry a cosine beyond 1, and a wrong certainty is not infinitely wrong.
    worst = torch.tensor([0.0, 1.0 + 1e-6], requires_grad=True)
    matching_loss(worst, matched).backward()
    assert worst.grad is not None and worst.grad.isfinite().all()


def test_gradients_added_up_from_parts_are_the_batchs(tmp_path: Path) -> None:
    clips = made_clips()
    found = []
    for at_once in (4, 3):
        recipe = StableSyncRecipe(steps=1, batch=4, at_once=at_once, learning_rate=1e-3)
        network = new_network(recipe, TINY)
        train(network, clips, recipe, tmp_path / str(at_once))
        found.append({key: value.grad for key, value in network.named_parameters()})
    for key, whole in found[0].items():
        torch.testing.assert_close(found[1][key], whole, rtol=1e-3, atol=1e-6)


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    clips = made_clips()
    whole, steps = train(new_network(QUICK, TINY), clips, QUICK, tmp_path / "whole")
    half = StableSyncRecipe(**{name: getattr(QUICK, name) for name in QUICK.__slots__} | {"steps": 2})
    train(new_network(half, TINY), clips, half, tmp_path / "parts")
    parts, again = train(new_network(QUICK, TINY), clips, QUICK, tmp_path / "parts")
    assert steps == again == 4
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    first = new_network(QUICK, TINY).state_dict()
    assert any(not torch.equal(value, whole[key]) for key, value in first.items())
    rows = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert all(row["loss"] > 0 and 0 <= row["accuracy"] <= 1 for row in rows)


@pytest.mark.slow
def test_where_lips_show_the_sound_it_learns_which_go_together(tmp_path: Path) -> None:
    clips = made_clips(6)
    recipe = StableSyncRecipe(
        steps=60, batch=24, at_once=24, learning_rate=2e-3, apart=6, checked=200, save_every=100
    )
    network = new_network(recipe, TINY)
    before = check_pairs(network, clips, recipe)
    train(network, clips, recipe, tmp_path)
    after = check_pairs(network, clips, recipe)
    assert before.accuracy < 0.6
    assert after.loss < 0.6 and after.accuracy > 0.7 and after.matched > after.unmatched + 0.1


def lipsync(*args: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    return done.exit_code, " ".join(done.stderr.split())


def test_the_command_writes_a_file_that_the_judge_reads(prepared: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = ["train", "stable-sync", "--prepared", prepared, "--runs", runs, "--config", "small", "--device", "cpu"]
    command += ["--batch", 4, "--at-once", 2, "--save-every", 2]
    code, said = lipsync(*command, "--steps", 2)
    assert code == 0, said
    assert "72 frames of 2 clips" in said and "0.693 is chance" in said and "2 of 2 steps" in said
    first = load_judge(runs / "stable_syncnet.pt")
    assert first.config == CONFIGS["small"]
    assert torch.load(runs / "stable_syncnet.pt", weights_only=True)["global_step"] == 2
    code, said = lipsync(*command, "--steps", 3, "--out", tmp_path / "mine.pt")
    assert code == 0, said
    second = load_judge(tmp_path / "mine.pt").state_dict()
    assert any(not torch.equal(value, second[key]) for key, value in first.state_dict().items())
    rows = [json.loads(line) for line in (runs / "val.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 3]
    assert set(rows[0]) == {"step", "loss", "accuracy", "matched", "unmatched"}
    code, said = lipsync(*command, "--steps", 3, "--config", "25_pixel")
    assert code == 2 and "another network" in said


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--config", "16_latent"], 2, "compares VAE latents"),
        (["--config", "large"], 2, "no StableSyncNet called 'large'"),
        (["--prepared", "nowhere"], 3, "holds no prepared clips"),
        (["--config", "25_pixel"], 3, "no clip of 50 frames in its train split"),
    ],
)
def test_bad_input_is_one_sentence_and_a_code(
    options: list[str], code: int, words: str, prepared: Path, tmp_path: Path
) -> None:
    command = ["train", "stable-sync", "--prepared", prepared, "--runs", tmp_path / "runs", "--device", "cpu"]
    found, said = lipsync(*command, *options)
    assert found == code and words in said, said


def test_aligned_crops_are_cut_once(prepared: Path, tmp_path: Path) -> None:
    first = load_aligned(prepared, "train", TINY, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = load_aligned(prepared, "train", TINY, tmp_path)
    assert len(stamps) == 2 and {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    assert all(np.array_equal(a.halves, b.halves) for a, b in zip(first, again, strict=True))
    assert first[0].halves.shape == (36, 16, 32, 3)
