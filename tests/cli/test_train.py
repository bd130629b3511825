"""The commands of lipsync train: their help, recipes with options over them, and what is refused with which words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lipsync_cli.cli.app import app
from lipsync_cli.training.common.loop import steps_made
from lipsync_cli.training.common.recipes import recipes_folder
from tests.helpers.prepared_folder import write_prepared

TRAININGS = ("mini", "omnisync", "sync", "stable-sync")
TINY_SYNC = "steps = 7\nclips = 2\nframes = 20\nsave_every = 1\n"


def train(*args: str | Path, columns: int = 200) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, args)], env={"COLUMNS": str(columns)})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [("train", "a"), ("train", "b"), ("val", "c")]
    return write_prepared(tmp_path_factory.mktemp("train") / "prepared", clips, frames=26)


def test_train_help_lists_its_commands() -> None:
    result = train("--help")
    assert result.exit_code == 0
    assert all(re.search(rf"\b{name}\b", result.stdout) for name in ("prepare", *TRAININGS, "sync-check"))


@pytest.mark.parametrize("training", TRAININGS)
def test_train_command_help_names_the_folder_and_default_of_its_recipes(training: str) -> None:
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", train(training, "--help").stdout).split())
    assert f"presets/train/{training}" in words
    (default,) = re.findall(r"--recipe NAME\|FILE .*?\[default: ([^\]]+)\]", words)
    assert (recipes_folder(training) / f"{default}.toml").is_file()


@pytest.mark.parametrize("training", TRAININGS)
def test_train_command_refuses_an_unknown_recipe_before_anything_is_written(training: str, tmp_path: Path) -> None:
    result = train(training, "--recipe", "nothing-like-it", "--runs", tmp_path / "runs")
    assert result.exit_code == 2
    assert f"no recipe of lipsync train {training} called 'nothing-like-it'" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("training", "text", "words"),
    [
        ("mini", "[teacher]\nbatch = -1\n", "teacher.batch"),
        ("omnisync", "steps = 0\n", "steps"),
        ("sync", "learning_rate = 0\n", "learning_rate"),
        ("stable-sync", "apart = 0\n", "apart"),
    ],
)
def test_train_command_refuses_numbers_out_of_bounds(training: str, text: str, words: str, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(text)
    result = train(training, "--recipe", recipe, "--runs", tmp_path / "runs", columns=1000)
    assert result.exit_code == 2
    assert re.search(rf"{words} \({recipe}\) cannot be (-1|0): input should be", result.stderr)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "1"], "--batch cannot be 1"),
        (["--learning-rate", "0"], "--learning-rate cannot be 0.0"),
        (["--steps", "-3"], "--steps cannot be -3"),
        (["--minutes", "-1"], "--minutes"),
    ],
)
def test_train_stable_sync_refuses_options_out_of_bounds(options: list[str], words: str, tmp_path: Path) -> None:
    result = train("stable-sync", *options, "--runs", tmp_path / "runs")
    assert result.exit_code == 2 and words in result.stderr


def test_train_sync_takes_a_recipe_and_options_over_it(prepared: Path, tmp_path: Path) -> None:
    recipe, runs = tmp_path / "tiny.toml", tmp_path / "runs"
    recipe.write_text(TINY_SYNC)
    places = ["--prepared", prepared, "--runs", runs, "--model", tmp_path / "model"]
    result = train("sync", "--recipe", recipe, "--steps", 2, *places, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert steps_made(runs) == 2
    assert (tmp_path / "model" / "weights.safetensors").is_file()


@pytest.mark.parametrize("training", ["mini", "sync"])
def test_train_commands_refuse_a_wrong_device_in_one_sentence(training: str, tmp_path: Path) -> None:
    result = train(training, "--device", "tpu", "--runs", tmp_path / "runs")
    assert result.exit_code == 2 and "--device must be auto, cpu, cuda or cuda:N, got 'tpu'." in result.stderr
    assert not list(tmp_path.iterdir())
