"""``lipsync eval`` on a drawn head: one clip, protocols over a manifest, comparison, and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from lipsync_cli.cli.app import app
from lipsync_cli.evaluation.registry import metrics as registered
from lipsync_cli.nn.sync.stable_syncnet import CONFIGS, StableSyncNet
from lipsync_cli.nn.sync.stable_syncnet_file import save_stable_syncnet
from tests.helpers.tiny_mini import make_folder


def lipsync(*args: str | Path) -> Result:
    """The command in this process: what it loads is loaded once for all tests."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


QUICK = ("--seconds", "1", "--preset", "realtime", "--device", "cpu", "--set", "reference_frames=5")


@pytest.fixture(scope="module")
def evaluated(head_mp4: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the self and the original protocol have run over two copies of the drawn head."""
    here = tmp_path_factory.mktemp("evaluated")
    clips, model = here / "clips", make_folder(here / "tiny")
    clips.mkdir()
    for name in ("a", "b"):
        shutil.copy(head_mp4, clips / f"{name}.mp4")
    options = ["--protocol", "self", "--protocol", "original", "--model", model, *QUICK, "--out", here / "out"]
    done = lipsync("eval", "--manifest", clips, *options, "--html", here / "page.html")
    assert done.exit_code == 0, done.stderr
    (here / "table.md").write_text(done.stdout)
    return here


def test_clip_against_itself_is_perfect(head_mp4: Path) -> None:
    done = lipsync("eval", head_mp4, "--against", head_mp4, "--original", head_mp4, "--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    metrics = result["metrics"]
    assert (result["schema"], result["frames"], result["scored_frames"]) == (1, 50, 50)
    assert metrics["psnr"] == metrics["border_psnr"] == 99
    assert metrics["ssim"] == metrics["csim"] == metrics["sharpness_ratio"] == pytest.approx(1)
    assert metrics["aperture_corr"] == pytest.approx(1) and metrics["lmd"] == 0
    assert set(metrics) == set(registered())
    assert set(result["not_measured"]) == {name for name, value in metrics.items() if value is None}
    assert "syncnet_v2.model" in result["not_measured"]["lse_c"]
    assert result["not_measured"]["stable_sync"] == "needs stable_syncnet.pt; give it with --stable-sync"
    assert len(result["sync_curve"]) == 31 and len(result["apertures"]) == 50


def test_clip_is_scored_by_a_stable_syncnet_of_ones_own(head_mp4: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "mine.pt"
    save_stable_syncnet(file, StableSyncNet(CONFIGS["small"]).state_dict(), CONFIGS["small"], step=0)
    done = lipsync("eval", head_mp4, "--stable-sync", file, "--json")
    assert done.exit_code == 0, done.stderr
    metrics = json.loads(done.stdout)["metrics"]
    assert 0 < metrics["stable_sync"] <= 1
    assert metrics["stable_sync_confidence"] >= 0 and abs(metrics["stable_sync_offset"]) <= 15


def test_protocols_score_only_what_was_dubbed_after_the_references(evaluated: Path) -> None:
    result = json.loads((evaluated / "out" / "result.json").read_text())
    assert [(row["protocol"], row["clips"], row["failed"]) for row in result["summary"]] == [
        ("self", 2, 0), ("original", 2, 0),
    ]  # fmt: skip
    by_name = {(clip["protocol"], clip["name"]): clip for clip in result["clips"]}
    dubbed, original = by_name["self", "a"], by_name["original", "b"]
    assert (dubbed["score"]["frames"], dubbed["score"]["scored_frames"]) == (25, 20)
    assert 10 < dubbed["score"]["metrics"]["psnr"] < 40 < dubbed["score"]["metrics"]["border_psnr"]
    assert original["score"]["metrics"]["psnr"] is None and original["dub"] == {}
    table = (evaluated / "table.md").read_text().splitlines()
    assert table[0] == "| metric | self (2) | original (2) |"
    assert any(line.startswith("| CSIM ↑ | ") for line in table)


def test_page_stands_alone(evaluated: Path) -> None:
    page = (evaluated / "page.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert page.count("<svg") > 8
    assert "src='http" not in page and "href='http" not in page and "<script" not in page and "<link" not in page


def test_protocols_run_again_keep_what_is_there(evaluated: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(evaluated / "out", tmp_path / "out"))  # it is written to, and others read it
    stamp = (out / "self" / "a.mp4").stat().st_mtime_ns
    options = ["--protocol", "self", "--model", evaluated / "tiny", *QUICK, "--out", out, "--json"]
    command = ["eval", "--manifest", evaluated / "clips", *options]
    done = lipsync(*command)
    assert done.exit_code == 0, done.stderr
    assert "1 of 2: self a (kept)" in done.stderr
    assert (out / "self" / "a.mp4").stat().st_mtime_ns == stamp
    # Another scoring does not dub again.
    result = out / "self" / "b.json"
    result.write_text("{}")
    done = lipsync(*command)
    assert "2 of 2: self b\n" in done.stderr
    assert (out / "self" / "a.mp4").stat().st_mtime_ns == stamp
    assert json.loads(done.stdout)["summary"][0]["clips"] == 2


def test_comparison_of_two_results(evaluated: Path, tmp_path: Path) -> None:
    result = json.loads((evaluated / "out" / "result.json").read_text())
    for clip in result["clips"]:
        if clip["protocol"] == "self":
            clip["score"]["metrics"]["csim"] -= 0.1
        clip["score"]["metrics"]["face_share"] += 0.05
    (tmp_path / "b.json").write_text(json.dumps(result))
    done = lipsync("eval", "--compare", evaluated / "out" / "result.json", tmp_path / "b.json", "--json")
    assert done.exit_code == 0, done.stderr
    rows = {(row["protocol"], row["metric"]): row for row in json.loads(done.stdout)["metrics"]}
    csim = rows["self", "csim"]
    assert (csim["n"], csim["verdict"]) == (2, "worse")
    assert csim["low"] == pytest.approx(-0.1) == csim["high"]
    assert rows["self", "face_share"]["verdict"] == "better"
    assert rows["self", "border_psnr"]["verdict"] == "unclear"


def test_clips_of_unequal_length_are_refused_unless_trimmed(head_mp4: Path, evaluated: Path) -> None:
    short = evaluated / "out" / "self" / "a.mp4"
    done = lipsync("eval", short, "--against", head_mp4, "--json")
    assert done.exit_code == 3
    assert "has 25" in done.stderr and "has 50" in done.stderr and "--trim" in done.stderr
    done = lipsync("eval", short, "--against", head_mp4, "--trim", "--json")
    assert json.loads(done.stdout)["scored_frames"] == 25


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([], 2, "nothing to score"),
        (["HEAD", "--manifest", "x.csv"], 2, "CLIP and --manifest"),
        (["HEAD", "--limit", "3"], 2, "--limit does not go with CLIP"),
        (["--manifest", "x.csv", "--against", "HEAD"], 2, "--against does not go with --manifest"),
        (["HEAD", "--html", "x.html"], 2, "--html does not go with CLIP"),
        (["missing.mp4"], 3, "missing.mp4"),
        (["VOICE"], 3, "no video stream"),
        (["--manifest", "x.csv"], 3, "no manifest"),
        (["--manifest", "BAD", "--protocol", "nothing"], 2, "no protocol 'nothing'"),
        (["--manifest", "BAD"], 3, "does not exist"),
        (["--manifest", "BAD", "--where", "year=1"], 2, "no column 'year'"),
        (["--compare", "BAD", "BAD"], 3, "not JSON"),
        (["HEAD", "--syncnet", "BAD"], 5, "SyncNet weights"),
        (["HEAD", "--stable-sync", "BAD"], 5, "no readable torch checkpoint"),
        (["HEAD", "--stable-sync", "missing.pt"], 3, "missing.pt"),
        (["HEAD", "--weights", "nowhere"], 3, "no folder"),
    ],
)
def test_bad_input_is_one_sentence_and_a_code(
    args: list[str], code: int, words: str, head_mp4: Path, voice_wav: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("video,speaker\nnowhere.mp4,a\n")
    files = {"HEAD": head_mp4, "VOICE": voice_wav, "BAD": tmp_path / "bad.csv"}
    done = lipsync("eval", *[files.get(arg, arg) for arg in args], "--out", tmp_path / "out")
    assert done.exit_code == code, done.stderr
    assert words in " ".join(done.stderr.split())
    assert done.stdout == ""
