"""Every command in the documentation: understood by the program it calls, and run where that is cheap."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lipsync_cli import hub
from lipsync_cli.cli.app import app, load_command
from lipsync_cli.cli.options import parse_options, parse_sets
from lipsync_cli.engines.loading import check_model
from lipsync_cli.settings import DubSettings, resolve_settings, unknown_variables
from tests.helpers.documentation import Block, shell_commands
from tests.helpers.paths import ROOT, SAMPLES
from tests.helpers.plugins import EXAMPLES, installed

COMMANDS = list(shell_commands())
PREFIXES = (["accelerate", "launch", "-m", "lipsync_cli"], ["python", "-m", "lipsync_cli"])


def words_of(words: list[str]) -> list[str]:
    """A command without the variables before it, called ``lipsync`` in whatever way it is started."""
    words = words[next(i for i, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)) :]
    for prefix in PREFIXES:
        if words[: len(prefix)] == prefix:
            return ["lipsync", *words[len(prefix) :]]
    return words


LIPSYNC = [(block, words_of(words)[1:]) for block, words in COMMANDS if words_of(words)[0] == "lipsync"]
OTHERS = [(block, words_of(words)) for block, words in COMMANDS if words_of(words)[0] != "lipsync"]


@pytest.fixture(scope="module", autouse=True)
def _examples_are_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The packages that pages tell how to make can be used on those pages."""
    with ExitStack() as stack:
        for path in sorted(EXAMPLES.iterdir()):
            stack.enter_context(installed(path.name, tmp_path_factory.mktemp(path.name)))
        yield


def parsed(words: list[str]) -> dict[str, Any]:
    """The parameters of a ``lipsync`` command by name; raises what the option parser does for one that is wrong."""
    command, path, words = load_command(words[0]), words[0], words[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command, path, words = command.commands[words[0]], f"{path} {words[0]}", words[1:]
    return {"command": path, **command.make_context(path, list(words)).params}


@pytest.mark.parametrize(("block", "words"), LIPSYNC, ids=[str(block) for block, _ in LIPSYNC])
def test_lipsync_understands_its_command(block: Block, words: list[str]):
    if words[-1] in ("--help", "--version"):
        assert CliRunner().invoke(app, words).exit_code == 0
        return
    given = parsed(words)
    if "sets" not in given and "options" not in given:
        return
    preset = given.get("preset")
    resolved = resolve_settings(
        None if preset and preset.endswith(".toml") else preset,
        {name: given[name] for name in DubSettings.model_fields if name in given},
        sets=parse_sets(given.get("sets")),
        options=parse_options(given.get("options"), parity=given.get("parity")),
    )
    if "model" in given and not resolved.settings.model.startswith("."):
        card = hub.load_card(resolved.settings.model)
        check_model(card, *resolved.options.for_kind(card.kind), dtype=resolved.settings.dtype)


@pytest.mark.parametrize(("block", "words"), OTHERS, ids=[str(block) for block, _ in OTHERS])
def test_other_commands_name_what_there_is(block: Block, words: list[str]):
    check = PROGRAMS[words[0]]
    check(words[1:])


def check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    variables = set(re.findall(r"^([A-Z_]+) \?=", (ROOT / "Makefile").read_text(), re.M)) | {"DATA"}
    for word in words:
        assert word in targets or word.partition("=")[0] in variables, word


def check_python(words: list[str]) -> None:
    module = words[1] if words[0] == "-m" else None
    assert find_spec(module) if module else (ROOT / words[0]).is_file()


def check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words[1:]:
        wanted = re.fullmatch(r"(?:\.|lipsync-cli)\[([\w,-]+)\]", word)
        assert wanted is None or set(wanted[1].split(",")) <= set(extras), word
        assert not word.startswith("./") or (ROOT / word / "pyproject.toml").is_file(), word
        assert not word.endswith(".txt") or (ROOT / word).is_file(), word


def check_nothing(words: list[str]) -> None:
    """Programs of the system."""


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "cd": check_nothing,
    "git": check_nothing,
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
}


def test_variables_before_commands_are_settings():
    names = [word.partition("=")[0] for _, words in COMMANDS for word in words if re.match(r"LIPSYNC_\w+=", word)]
    assert set(unknown_variables(dict.fromkeys(names, ""))) <= {"LIPSYNC_CLIPS", "LIPSYNC_REQUIRE"}


def is_cheap(words: list[str]) -> bool:
    """Whether a command takes a few seconds at most and reads nothing but samples."""
    files = [word for word in words if re.search(r"\.(mp4|wav|flac|png|jpg|csv)$", word)]
    inputs = [file for file in files if words[words.index(file) - 1] not in ("-o", "--sheet", "--picture")]
    if not all(file.startswith("samples/") for file in inputs):
        return False
    if words[0] == "dub":
        return "--explain" in words or "--end" in words
    return words[0] in ("inspect", "presets") or words[:2] in (["models", "list"], ["models", "show"])


CHEAP = list({tuple(words): (block, words) for block, words in LIPSYNC if is_cheap(words)}.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a fresh clone has it, as far as commands read it."""
    path = tmp_path_factory.mktemp("clone")
    shutil.copytree(SAMPLES, path / "samples")
    return path


@pytest.mark.parametrize(("block", "words"), CHEAP, ids=[str(block) for block, _ in CHEAP])
def test_cheap_command_runs(block: Block, words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert all(
        (folder / words[i + 1]).is_file() for i, word in enumerate(words) if word == "-o" and words[i + 1] != "-"
    )


def test_wrong_commands_would_be_found():
    with pytest.raises(Exception, match="No such option"):
        parsed(["dub", "a.mp4", "b.wav", "--made-up"])
    with pytest.raises(Exception, match="Missing parameter: data"):
        parsed(["train", "prepare"])
    with pytest.raises(KeyError):
        parsed(["dubb", "a.mp4", "b.wav"])
