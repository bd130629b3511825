"""A model folder with every file becomes networks; files that do not fit are named; a base lends its encoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lipsync_cli import hub
from lipsync_cli.core.errors import ModelError
from lipsync_cli.engines.engine import Placement
from lipsync_cli.engines.loading import load_model
from lipsync_cli.engines.omnisync.config import read_config
from lipsync_cli.engines.omnisync.load import load_networks
from lipsync_cli.training.omnisync.pairing import PairingRule
from lipsync_cli.training.omnisync.run import OmniSyncRun, train_omnisync
from lipsync_cli.training.omnisync.stage import OmniSyncRecipe
from tests.helpers.narrow_omnisync import CPU, PIXELS, WAN, config, make_folder, make_networks
from tests.helpers.prepared_folder import write_prepared

RANDOM = Placement(random_weights=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "narrow", WAN)


def test_a_folder_becomes_the_networks_it_was_made_of(folder: Path) -> None:
    card = hub.load_card(folder)
    loaded = load_networks(card, read_config(card.generator, model="narrow"), device=CPU, dtype=torch.float32)
    made = make_networks(config(WAN))
    for own, other in (
        (loaded.transformer, made.transformer), (loaded.codec.vae, made.codec.vae),
        (loaded.speech.encoder, made.speech.encoder),
    ):  # fmt: skip
        for key, value in own.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
    assert torch.equal(loaded.text, made.text)
    generator = load_model(card, {"steps": 9, "pni": "off"})
    assert generator.spec.details["steps"] == 9 and generator.spec.name == "narrow"


def test_foreign_weights_are_named(tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", PIXELS)
    path = other / "transformer.safetensors"
    tensors = load_file(path)
    tensors.pop("no_audio")
    save_file(tensors, path)
    card = hub.load_card(other)
    weights = card.weights[0].model_copy(
        update={"bytes": path.stat().st_size, "sha256": hub.files.digest(path, afresh=True)}
    )
    with pytest.raises(ModelError, match=r"1 missing \(no_audio\)"):
        load_model(card.model_copy(update={"weights": (weights,)}))


def test_random_weights_need_no_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text((folder / "model.toml").read_text())
    generator = load_model(hub.load_card(tmp_path), {}, RANDOM)
    assert all(torch.isfinite(p).all() for p in generator.networks.transformer.parameters())
    with pytest.raises(ModelError):
        load_model(hub.load_card(tmp_path))


def test_training_upon_a_base_takes_its_encoders_along(folder: Path, tmp_path: Path) -> None:
    """Wan's autoencoder, Whisper and a text context, all narrow: one step, and a folder that stands by itself."""
    frames = 29  # eight latent frames: two windows of four
    prepared = write_prepared(tmp_path / "prepared", [("train", "a")], frames=frames, size=64)
    recipe = OmniSyncRecipe(
        base=str(folder), steps=1, batch=2, warmup=1, pairing=PairingRule(gap=0.0), preview_steps=1, save_every=1
    )
    said: list[str] = []
    train_omnisync(OmniSyncRun(prepared, tmp_path / "runs", recipe, said.append), tmp_path / "mine")
    card = hub.load_card(tmp_path / "mine")
    assert {check.state for check in hub.verify(card)} == {"ok"}
    assert {w.role for w in card.weights} == {"transformer", "wan-vae", "speech", "text"}
    assert all((tmp_path / "mine" / w.file).is_file() for w in card.weights)
    encoded = np.load(next((tmp_path / "runs" / "encoded").glob("*.latents.npy")))
    assert encoded.shape == (8, 16, 8 // 2, 8 // 2) and encoded.dtype == np.float16
    load_model(card)
