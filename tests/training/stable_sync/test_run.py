"""lipsync train stable-sync: the file it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lipsync_cli.cli.app import app
from lipsync_cli.evaluation.measures.stable_sync import load_stable_sync
from lipsync_cli.nn.sync.stable_syncnet import CONFIGS


def lipsync(*args: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    return done.exit_code, " ".join(done.stderr.split())


def test_train_stable_sync_writes_a_file_that_evaluation_loads(prepared: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = ["train", "stable-sync", "--prepared", prepared, "--runs", runs, "--config", "small", "--device", "cpu"]
    command += ["--batch", 4, "--at-once", 2, "--save-every", 2]
    code, said = lipsync(*command, "--steps", 2)
    assert code == 0, said
    assert "72 frames of 2 clips" in said and "0.693 is chance" in said and "2 of 2 steps" in said
    first = load_stable_sync(runs / "stable_syncnet.pt")
    assert first.config == CONFIGS["small"]
    assert torch.load(runs / "stable_syncnet.pt", weights_only=True)["global_step"] == 2
    code, said = lipsync(*command, "--steps", 3, "--out", tmp_path / "mine.pt")
    assert code == 0, said
    second = load_stable_sync(tmp_path / "mine.pt").state_dict()
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
def test_train_stable_sync_refuses_bad_input_in_one_sentence(
    options: list[str], code: int, words: str, prepared: Path, tmp_path: Path
) -> None:
    command = ["train", "stable-sync", "--prepared", prepared, "--runs", tmp_path / "runs", "--device", "cpu"]
    found, said = lipsync(*command, *options)
    assert found == code and words in said, said
