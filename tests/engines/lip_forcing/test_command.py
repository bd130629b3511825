"""The real command with a narrow model folder: from two files to a dubbed one, and with bad checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lipsync_cli.cli.app import app
from lipsync_cli.media.probe import probe
from tests.helpers.narrow_lip_forcing import TABLE, make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "narrow")


def command(*args: object):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_two_files_become_a_dubbed_one(folder, head_mp4, voice_wav, no_part_files):
    out = no_part_files / "out.mp4"
    args = ["dub", head_mp4, voice_wav, "-o", out, "--model", folder, "--json", "--preset", "realtime", "--end", "1"]
    done = command(*args)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["frames_in"], report["frames_out"], report["frames_dubbed"]) == (25, 25, 25)
    assert report["model"]["name"] == "narrow"
    info = probe(out)
    assert info.video is not None and info.video.frames == 25


@pytest.mark.parametrize(("rate", "frames"), [("30000/1001", 16), pytest.param("50", 60, marks=pytest.mark.slow)])
def test_other_frame_rates_keep_their_frames(folder, head_png, voice_wav, tmp_path, rate, frames):
    from fractions import Fraction

    import av

    from lipsync_cli.synthetic import draw_head

    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(rate))
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for i in range(frames):
            picture = av.VideoFrame.from_ndarray(draw_head(320, 240, openness=0.05 * (i % 5) / 5), format="rgb24")
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    args = ["--model", folder, "--preset", "realtime", "--length", "video", "--json", "-q"]
    done = command("dub", tmp_path / "in.mp4", voice_wav, "-o", tmp_path / "out.mp4", *args)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["frames_dubbed"] == frames
    assert probe(tmp_path / "out.mp4").video.frames == frames


@pytest.mark.slow
def test_as_the_release_cuts_it_the_tail_is_left_alone(folder, head_mp4, voice_wav, tmp_path):
    args = ["--model", folder, "--preset", "realtime", "--parity", "--json", "-q", "--length", "video"]
    done = command("dub", head_mp4, voice_wav, "-o", tmp_path / "out.mp4", *args)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["frames_out"], report["options"]["parity"]) == (50, True)


def test_parity_is_for_models_that_have_a_release(head_mp4, voice_wav, tmp_path):
    done = command("dub", head_mp4, voice_wav, "-o", tmp_path / "o.mp4", "--model", "passthrough", "--parity")
    assert done.exit_code == 2
    assert "no option 'parity'" in done.output and "lip-forcing models" in done.output


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def of_another_model(path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncate, "no readable torch checkpoint"),
        (of_another_model, "1 unexpected (conv.weight)"),
        (lambda path: path.write_bytes(b""), "no readable torch checkpoint"),
    ],
)
def test_bad_checkpoints_end_with_one_sentence_and_no_output(spoil, said, head_mp4, voice_wav, no_part_files):
    import hashlib

    folder = make_folder(no_part_files / "m")
    path = folder / "transformer.pth"
    before = (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    spoil(path)
    # As if the card had been written for the bad file: otherwise its digest alone would give it away.
    after = (hashlib.sha256(path.read_bytes()).hexdigest(), max(1, path.stat().st_size))
    card = (folder / "model.toml").read_text()
    card = card.replace(before[0], after[0]).replace(f"bytes = {before[1]}", f"bytes = {after[1]}")
    (folder / "model.toml").write_text(card)
    if not path.stat().st_size:
        said = "damaged"
    done = command("dub", head_mp4, voice_wav, "-o", no_part_files / "out.mp4", "--model", folder)
    assert done.exit_code == 5, done.output
    assert said in " ".join(done.output.split())
    assert not (no_part_files / "out.mp4").exists()


def test_a_model_that_was_not_downloaded_says_how(head_mp4, voice_wav, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    done = command("dub", head_mp4, voice_wav, "-o", tmp_path / "o.mp4", "--model", "lip-forcing-14b")
    assert done.exit_code == 5
    assert "Run: lipsync models pull lip-forcing-14b" in " ".join(done.output.split())


def test_the_cost_of_a_model_is_counted(folder):
    done = command("models", "cost", folder, "--json", "--tflops", 2, "--bandwidth", 100)
    assert done.exit_code == 0, done.output
    counted = json.loads(done.stdout)
    assert [stage["stage"] for stage in counted["stages"]] == ["speech", "encode", "transformer", "decode"]
    assert counted["fps"] > 0 and counted["memory_bytes"]["keys and values"] > 0
    table = command("models", "cost", folder)
    assert "transformer" in table.stdout and "frames per second" in table.stdout
    assert command("models", "cost", "passthrough").exit_code == 2


@pytest.mark.slow
def test_the_whole_way_is_measured_with_random_weights(folder, tmp_path):
    """No file of the model is read but its card."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.toml").write_text((folder / "model.toml").read_text())
    args = ["--lengths", "1", "--heights", "240", "--rounds", "1", "--tflops", "1", "--preset", "realtime"]
    sets = ["--set", "dtype=float8", "--option", "encoder=taew", "--option", "graphs=true"]
    done = command("bench", "--model", tmp_path / "m", "--random-weights", *args, *sets, "--device", "cpu", "--json",
                   "--out", tmp_path / "bench.json")  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    (case,) = told["cases"]
    assert told["random_weights"] and (case["frames"], case["dubbed"]) == (25, 25)
    assert set(case["inside"]) == {"speech", "encode", "transformer", "decode"}
    assert 0 < sum(case["inside"].values()) <= 2 * sum(told["raw"]["1 s 240p"][0]["inside"].values())
    assert case["generator_fps"] > case["fps"] > 0
    # Operations of 25 frames, counted independently of the bench, over its time.
    from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
    from lipsync_cli.engines.lip_forcing.cost import stage_costs

    counted = sum(cost.flops for cost in stage_costs(LipForcingConfig(**TABLE, encoder="taew"))) / 12
    warm = told["raw"]["1 s 240p"][0]["runs"][1]
    assert case["mfu"] == pytest.approx(25 * counted / warm["wall_s"] / 1e12)


@pytest.mark.slow
def test_a_machine_too_small_says_so_before_anything_is_allocated(folder, tmp_path):
    card = (folder / "model.toml").read_text().replace("layers = 4", "layers = 1000000000", 1)
    (tmp_path / "huge").mkdir()
    (tmp_path / "huge" / "model.toml").write_text(card)
    args = ["--lengths", "1", "--heights", "120", "--rounds", "1", "--device", "cpu", "--out", tmp_path / "b.json"]
    done = command("bench", "--model", tmp_path / "huge", "--random-weights", *args)
    assert done.exit_code == 6, done.output
    said = " ".join(done.output.split())
    assert "Model narrow needs" in said and "GB of memory" in said and "GB free" in said
    assert not (tmp_path / "b.json").exists()


def test_eight_bits_are_for_models_that_have_them(head_mp4, voice_wav, tmp_path):
    args = ["--model", "passthrough", "--set", "dtype=float8"]
    assert command("dub", head_mp4, voice_wav, "-o", tmp_path / "o.mp4", *args).exit_code == 2


def test_a_checkpoint_becomes_a_model(folder, tmp_path):
    done = command("models", "convert", folder / "transformer.pth", "--model", folder, "-o", tmp_path / "mine")
    assert done.exit_code == 0, done.output
    assert command("models", "verify", tmp_path / "mine").exit_code == 0
    wrong = command("models", "convert", folder / "taew.pth", "--model", folder, "-o", tmp_path / "other")
    assert wrong.exit_code == 5 and "does not fit the network" in " ".join(wrong.output.split())
    assert TABLE["width"] == 24
