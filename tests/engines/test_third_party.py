"""An engine of another package, from the documentation's own example, on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lipsync_cli.cli.app import app
from lipsync_cli.core.errors import EnvironmentProblem, ModelError
from lipsync_cli.engines import registry
from lipsync_cli.engines.registry import engine_of_kind
from lipsync_cli.hub import cards
from lipsync_cli.media.probe import probe
from lipsync_cli.media.video import open_frames
from tests.helpers.plugins import installed


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    with installed("engine", tmp_path / "site") as folder:
        yield folder


def command(*args: object):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def pictures(path: Path) -> np.ndarray:
    with open_frames(probe(path)) as frames:
        return np.stack([np.asarray(frame.rgb, np.int16) for frame in frames])


def test_the_engine_runs_with_its_options_and_shows_among_the_models(plugin, head_mp4, voice_wav, tmp_path):
    assert any(card["name"] == "invert" for card in json.loads(command("models", "list", "--json").stdout)["models"])
    made = {}
    for strength in ("0", "1"):
        out = tmp_path / f"{strength}.mkv"
        args = [
            "--model",
            "invert",
            "--option",
            f"strength={strength}",
            "--codec",
            "ffv1",
            "--length",
            "video",
            "--json",
        ]
        done = command("dub", head_mp4, voice_wav, "-o", out, *args)
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        assert report["model"]["name"] == "invert" and report["options"] == {"strength": strength}
        made[strength] = pictures(out)
    source = pictures(head_mp4)
    unchanged, inverted = (np.abs(made[s] - source).max(axis=(1, 2, 3)).mean() for s in ("0", "1"))
    assert unchanged < 12 < 60 < inverted


def test_a_made_up_option_is_refused_with_a_sentence(plugin, head_mp4, voice_wav, tmp_path):
    base = ["dub", head_mp4, voice_wav, "-o", tmp_path / "o.mp4", "--model", "invert", "--option"]
    done = command(*base, "colour=red")
    assert done.exit_code == 2
    assert "Model invert has no option 'colour' (--option colour)." in done.stderr and "strength" in done.stderr
    done = command(*base, "strength=2")
    assert done.exit_code == 2 and "cannot be '2' (--option strength): expected 0" in done.stderr
    done = command(*base, "steps=3")
    assert done.exit_code == 2 and "It is an option of latentsync and omnisync models." in done.stderr
    done = command("dub", head_mp4, voice_wav, "-o", tmp_path / "o.mp4", "--set", "strength=0.5")
    assert done.exit_code == 2 and "Write --option strength=0.5." in done.stderr
    assert not (tmp_path / "o.mp4").exists()


def test_an_engine_that_cannot_be_loaded_is_named_with_its_package(tmp_path, monkeypatch):
    class Point:
        name, value, dist = "broken", "nowhere:Engine", None

        @staticmethod
        def load():
            raise ImportError("No module named 'nowhere'")

    monkeypatch.setattr(registry, "_brought_along", lambda: {"broken": Point})
    with pytest.raises(EnvironmentProblem, match="nowhere:Engine cannot be loaded: No module named"):
        engine_of_kind("broken")
    monkeypatch.setattr(cards, "_brought_along", lambda: {"broken": Point})
    with pytest.raises(ModelError, match="'broken' of nowhere:Engine cannot be loaded"):
        cards.load_card("broken")


def test_something_that_is_no_engine_is_refused(monkeypatch):
    class Point:
        name, value, dist = "odd", "builtins:dict", None

        @staticmethod
        def load():
            return dict

    monkeypatch.setattr(registry, "_brought_along", lambda: {"odd": Point})
    with pytest.raises(EnvironmentProblem, match="names something as the engine 'odd' that is none"):
        engine_of_kind("odd")
