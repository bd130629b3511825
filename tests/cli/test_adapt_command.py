"""``lipsync adapt`` on a drawn head with a tiny model, and ``lipsync dub --adapter`` with what it wrote."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from lipsync_cli import hub
from lipsync_cli.cli.app import app
from lipsync_cli.core.contact_sheets import save_png
from lipsync_cli.engines.mini.adapter import AdapterInfo, write_adapter
from lipsync_cli.media.probe import probe
from lipsync_cli.training.adapt import run as adapt_run
from lipsync_cli.training.adapt.trainer import AdaptRecipe
from tests.helpers.tiny_mini import make_folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "tiny")


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, args)])


def adapt(video: Path, output: Path, tiny: Path, *more: str | Path) -> Result:
    return run("adapt", video, "-o", output, "--model", tiny, "--steps", "4", "--device", "cpu", *more)


def test_an_adapter_is_made_and_used(head_mp4: Path, voice_wav: Path, tiny: Path, no_part_files: Path) -> None:
    person, sheet = no_part_files / "person.safetensors", no_part_files / "sheet.png"
    made = adapt(head_mp4, person, tiny, "--json", "--sheet", sheet)
    assert made.exit_code == 0, made.stderr
    report = json.loads(made.stdout)
    assert report["after"]["error"] < report["before"]["error"]
    assert (report["frames"], report["frames_usable"], report["steps"], report["steps_trained"]) == (50, 50, 4, 4)
    assert report["bytes"] == person.stat().st_size < 3_000_000 and sheet.stat().st_size > 10_000
    assert "step 4, " in made.stderr and "Held-out error" in made.stderr
    assert {path.name for path in no_part_files.iterdir()} == {"person.safetensors", "sheet.png"}
    first = person.read_bytes()
    assert adapt(head_mp4, person, tiny).exit_code == 7
    assert adapt(head_mp4, person, tiny, "-y", "-q").stderr == ""
    assert person.read_bytes() == first, "the same seed and steps give the same file"
    result = no_part_files / "out.mp4"
    done = run("dub", head_mp4, voice_wav, "-o", result, "--model", tiny, "--adapter", person, "--json", "--end", "1")
    assert done.exit_code == 0, done.stderr
    used = json.loads(done.stdout)["adapter"]
    assert used == {
        "file": str(person), "sha256": report["sha256"], "source": "head.mp4", "frames": 50, "steps": 4,
    }  # fmt: skip
    assert probe(result).metadata["lipsync_adapter"] == f"person.safetensors {report['sha256'][:12]}"
    assert "adapted by" in done.stderr


def test_an_adapter_changes_the_mouth_and_nothing_else(
    head_mp4: Path, voice_wav: Path, tiny: Path, tmp_path: Path
) -> None:
    base = hub.load_card(tiny).sha256
    change = torch.randn((16, 32, 3, 3), generator=torch.Generator().manual_seed(0))
    adapter = tmp_path / "a.safetensors"
    write_adapter(adapter, {"renderer.paint_out.weight": change}, AdapterInfo("tiny", base, "head.mp4", 50, 1, 0))
    options = ["--model", tiny, "--codec", "ffv1", "--end", "0.6", "-q"]
    plain, adapted = tmp_path / "plain.mkv", tmp_path / "adapted.mkv"
    assert run("dub", head_mp4, voice_wav, "-o", plain, *options).exit_code == 0
    assert run("dub", head_mp4, voice_wav, "-o", adapted, "--adapter", adapter, *options).exit_code == 0
    without, with_it, source = (luma(path)[:15] for path in (plain, adapted, head_mp4))
    assert without.shape == with_it.shape == source.shape
    dubbed = (without != source).any(0) | (with_it != source).any(0)
    rows, columns = np.flatnonzero(dubbed.any(1)), np.flatnonzero(dubbed.any(0))
    assert dubbed[rows[0] : rows[-1], columns[0] : columns[-1]].mean() > 0.5
    assert dubbed.mean() < 0.2, "the mask is a small part of the picture"
    assert (np.abs(with_it.astype(int) - without)[:, dubbed]).mean() > 2
    assert not (with_it != without)[:, ~dubbed].any()


def luma(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)])


def test_nothing_gained_nothing_written(
    head_mp4: Path, tiny: Path, no_part_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapt_run, "AdaptRecipe", partial(AdaptRecipe, learning_rate=50.0))
    person = no_part_files / "person.safetensors"
    person.write_bytes(b"what was there")
    result = adapt(head_mp4, person, tiny, "-y", "--json")
    assert result.exit_code == 5
    assert "Adapting gained nothing" in json.loads(result.stdout)["error"]["message"]
    assert person.read_bytes() == b"what was there"


def test_an_interrupt_leaves_nothing(
    head_mp4: Path, tiny: Path, no_part_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adapt_run, "write_adapter", interrupted)
    assert adapt(head_mp4, no_part_files / "person.safetensors", tiny).exit_code == 130
    assert list(no_part_files.iterdir()) == []


def test_what_cannot_be_adapted(head_mp4: Path, head_png: Path, tiny: Path, tmp_path: Path) -> None:
    wall = tmp_path / "wall.png"
    save_png(wall, np.full((120, 160, 3), 90, np.uint8))
    out = tmp_path / "a.safetensors"
    for args, code, said in (
        ((head_mp4, out, "passthrough"), 2, "cannot be adapted"),
        ((head_mp4, out, "lip-forcing-14b"), 2, "cannot be adapted"),
        ((head_mp4, tmp_path / "a.mp4", tiny), 2, "no name for an adapter"),
        ((head_png, out, tiny), 3, "still picture"),
        ((wall, out, tiny), 3, "still picture"),
        ((tmp_path / "no.mp4", out, tiny), 3, "no file"),
        ((head_mp4, tmp_path / "no" / "a.safetensors", tiny), 7, "does not exist"),
        ((head_mp4, out, tiny, "--end", "1"), 3, "only 25 usable frames"),
    ):
        result = adapt(*args)
        assert result.exit_code == code, result.stderr
        assert said in " ".join(result.stderr.split())
    assert not out.exists()


def test_a_wrong_adapter_stops_a_dub_before_it_begins(
    head_mp4: Path, voice_wav: Path, tiny: Path, tmp_path: Path
) -> None:
    wrong, out = tmp_path / "wrong.safetensors", tmp_path / "out.mp4"
    wrong.write_bytes(b"nonsense")
    for model, code in ((str(tiny), 5), ("lip-forcing-14b", 2)):
        result = run("dub", head_mp4, voice_wav, "-o", out, "--model", model, "--adapter", wrong)
        assert result.exit_code == code, result.stderr
    assert not out.exists()
