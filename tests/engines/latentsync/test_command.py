"""The real command with a narrow model folder: from two files to a dubbed one, bad checkpoints, cards, costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lipsync_cli import hub
from lipsync_cli.cli.app import app
from lipsync_cli.core.errors import EnvironmentProblem, ModelError, UsageError
from lipsync_cli.engines import memory
from lipsync_cli.engines.engine import Placement
from lipsync_cli.engines.latentsync import load
from lipsync_cli.engines.latentsync.config import LatentSyncConfig, read_config
from lipsync_cli.engines.latentsync.cost import memory_bytes
from lipsync_cli.engines.loading import load_model
from lipsync_cli.media.probe import probe
from tests.helpers.narrow_latentsync import CONFIG, TABLE, make_folder, published_unet
from tests.helpers.paths import SAMPLES

RANDOM = Placement(random_weights=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "narrow")


def command(*args: object):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_two_files_become_a_dubbed_one(folder, no_part_files):
    out = no_part_files / "out.mp4"
    args = ["--model", folder, "--preset", "realtime", "--json", "--end", "0.32", "--option", "steps=2"]
    done = command("dub", SAMPLES / "speaker.mp4", SAMPLES / "speech.wav", "-o", out, *args)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames_in"] == report["frames_out"] == report["frames_dubbed"] == 8
    assert report["model"]["name"] == "narrow" and report["options"] == {"steps": "2", "solver": "dpm++", "reuse": 1}
    assert probe(out).video.frames == 8


@pytest.mark.parametrize("motion", [True, False])
def test_a_folder_loads_as_the_networks_it_was_made_of(tmp_path, motion):
    table = {**TABLE, "motion": motion}
    made = make_folder(tmp_path / "m", table=table)
    generator = load_model(hub.load_card(made), {"solver": "dpm++", "steps": 7, "guidance": 2.0, "reuse": 1})
    details = generator.spec.details
    assert (details["solver"], details["steps"], details["guidance"], details["reuse"]) == ("dpm++", 7, 2.0, 1)
    saved = torch.load(made / "latentsync_unet.pt")["state_dict"]
    loaded = published_unet(generator.networks.unet.net, old=not motion)
    assert loaded.keys() == saved.keys() and all(torch.equal(loaded[key], saved[key]) for key in saved)
    plain = load_model(hub.load_card(made)).spec.details
    assert (plain["solver"], plain["steps"], plain["guidance"]) == ("ddim", 2, 1.5)


@pytest.mark.parametrize(
    ("role", "key", "said"),
    [
        ("unet", "conv_out.bias", "latentsync_unet.pt does not fit the network: 1 missing (conv_out.bias)"),
        ("vae", "decoder.conv_out.weight", "vae.pt does not fit the network: 1 missing"),
        ("whisper", "encoder.ln_post.bias", "tiny.pt does not fit the network: 1 missing (layer_norm.bias)"),
    ],
)
def test_a_file_that_lacks_something_is_named(tmp_path, role, key, said):
    made = make_folder(tmp_path / "m", change=lambda r, tensors: tensors.pop(key) if r == role else None)
    with pytest.raises(ModelError) as error:
        load_model(hub.load_card(made))
    assert said in error.value.message


def test_weights_of_another_version_end_with_one_sentence_and_no_output(folder, head_mp4, voice_wav, no_part_files):
    old = make_folder(no_part_files / "m", table={**TABLE, "motion": False})
    card = (old / "model.toml").read_text().replace("motion = false", "motion = true")
    (old / "model.toml").write_text(card)
    done = command("dub", head_mp4, voice_wav, "-o", no_part_files / "out.mp4", "--model", old)
    assert done.exit_code == 5, done.output
    said = " ".join(done.output.split())
    assert "LatentSync 1.5 or 1.6 was expected" in said and "--model latentsync-1.0" in said
    assert not (no_part_files / "out.mp4").exists()


def test_what_cannot_be_asked_of_it_is_refused(folder):
    card = hub.load_card(folder)
    for options, placement in (({}, Placement(dtype="float8")), ({"devices": 2}, None)):
        with pytest.raises(UsageError):
            load_model(card, options, placement)
    with pytest.raises(ModelError, match="wrong at steps"):
        read_config({**TABLE, "steps": 0}, model="m")
    for key, value, said in (
        ("heads", 3, "no multiples"),
        ("chunk", 30, "longer than"),
        ("speech_past", 50, "do not"),
    ):
        with pytest.raises(ModelError, match=said):
            read_config({**TABLE, key: value}, model="m")


def test_too_little_room_is_a_sentence_with_both_numbers(folder, monkeypatch):
    needed = sum(memory_bytes(CONFIG, bytes_per_weight=4).values())
    assert needed == 4 * sum(  # the encoder's and the decoder's half, without the two 1 × 1 layers between them
        p.numel()
        for network in _parts(load.random_networks(CONFIG, device=torch.device("cpu"), dtype=torch.float32))
        for p in network.parameters()
    )
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(needed) - 1)
    with pytest.raises(EnvironmentProblem, match=r"Model narrow needs 0\.0 GB .* and cpu has 0\.0 GB free"):
        load_model(hub.load_card(folder), {}, RANDOM)


def _parts(networks):
    return networks.unet, networks.speech, networks.vae.vae.encoder, networks.vae.vae.decoder


def test_the_cards_describe_the_published_networks():
    configs = {v: read_config(hub.load_card(f"latentsync-{v}").generator, model=v) for v in ("1.0", "1.5", "1.6")}
    assert [c.crop_size for c in configs.values()] == [256, 256, 512]
    assert [c.motion for c in configs.values()] == [False, True, True]
    assert configs["1.6"] == LatentSyncConfig(crop_size=512)
    assert (configs["1.6"].chunk, configs["1.6"].tokens, configs["1.6"].latent_size) == (16, 50, 64)
    for version in configs:
        files = {weights.role: weights for weights in hub.load_card(f"latentsync-{version}").weights}
        assert set(files) == {"unet", "vae", "whisper"}
        assert files["vae"].bytes == 334_643_276 and files["whisper"].bytes == 75_572_083


def test_a_model_that_was_not_downloaded_says_how(head_mp4, voice_wav, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **options: None)
    for version, size in (("1.6", "5.5 GB"), ("1.0", "0.4 GB and 1 of unknown size")):
        done = command("dub", head_mp4, voice_wav, "-o", tmp_path / "o.mp4", "--model", f"latentsync-{version}")
        assert done.exit_code == 5
        assert f"Run: lipsync models pull latentsync-{version} ({size})" in " ".join(done.output.split())
    shown = command("models", "show", "latentsync-1.0")
    assert shown.exit_code == 0 and "sha256 not known" in shown.stdout


def test_the_cost_of_a_model_is_counted(folder):
    done = command("models", "cost", folder, "--json", "--tflops", 2, "--bandwidth", 100)
    assert done.exit_code == 0, done.output
    counted = json.loads(done.stdout)
    assert [stage["stage"] for stage in counted["stages"]] == ["encode", "speech", "unet", "decode"]
    assert counted["fps"] > 0 and counted["memory_bytes"]["unet weights"] > 0
    assert "per chunk of 4 frames" in command("models", "cost", folder).stdout


def test_a_checkpoint_becomes_a_model(folder, tmp_path):
    done = command(
        "models",
        "convert",
        folder / "latentsync_unet.pt",
        "--model",
        folder,
        "-o",
        tmp_path / "mine",
        "--role",
        "unet",
    )
    assert done.exit_code == 0, done.output
    assert command("models", "verify", tmp_path / "mine").exit_code == 0
    ours, theirs = (load_model(hub.load_card(m)) for m in (tmp_path / "mine", folder))
    states = [generator.networks.unet.net.state_dict() for generator in (ours, theirs)]
    assert all(torch.equal(states[0][key], value) for key, value in states[1].items())


@pytest.mark.slow
def test_the_whole_way_is_measured_with_random_weights(folder, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.toml").write_text((folder / "model.toml").read_text())
    args = [
        "--lengths",
        "1",
        "--heights",
        "240",
        "--rounds",
        "1",
        "--preset",
        "realtime",
        "--device",
        "cpu",
        "--json",
    ]
    done = command("bench", "--model", tmp_path / "m", "--random-weights", *args, "--out", tmp_path / "bench.json")
    assert done.exit_code == 0, done.output
    (case,) = json.loads(done.stdout)["cases"]
    assert set(case["inside"]) == {"encode", "speech", "unet", "decode"} and case["dubbed"] == 25


def test_a_file_without_a_digest_must_be_pinned_and_is_called_unverified(tmp_path, monkeypatch):
    pinned = f"hf:owner/name@{'0' * 40}/w.pt"
    with pytest.raises(ValueError, match="may do without"):
        hub.Weights(role="unet", file="w.pt", licence="none")
    with pytest.raises(ValueError, match="both known"):
        hub.Weights(role="unet", file=pinned, bytes=3, licence="none")
    weights = hub.Weights(role="unet", file=pinned, licence="none")
    card = hub.ModelCard(name="m", version=1, kind="latentsync", weights=(weights,))
    (tmp_path / "w.pt").write_bytes(b"anything")
    monkeypatch.setattr("lipsync_cli.hub.files.on_hub", lambda *args: None)
    assert [check.state for check in hub.verify(card)] == ["absent"]
    monkeypatch.setattr("lipsync_cli.hub.files.on_hub", lambda *args: tmp_path / "w.pt")
    assert [check.state for check in hub.verify(card)] == ["unverified"]
    assert hub.resolve_weights(card, "unet") == tmp_path / "w.pt"
    assert len(card.sha256) == 64
    fetched = []

    def download(*address: str) -> Path:
        fetched.append(address)
        return tmp_path / "w.pt"

    assert [check.state for check in hub.pull(card, download=download)] == ["unverified"] and not fetched
    monkeypatch.setattr("lipsync_cli.hub.files.on_hub", lambda *args: None)
    assert [check.state for check in hub.pull(card, download=download)] == ["unverified"]
    assert fetched == [("owner/name", "0" * 40, "w.pt")]
    hub.write_card(card, tmp_path)
    assert hub.load_card(tmp_path).weights == card.weights
