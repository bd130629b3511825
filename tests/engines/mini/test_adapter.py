"""Adapter files: what they change, and that they meet only the weights they were made for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lipsync_cli import hub
from lipsync_cli.core.errors import LipsyncError, ModelError, UsageError
from lipsync_cli.engines.loading import load_model
from lipsync_cli.engines.mini.adapter import AdapterInfo, apply_adapter, read_adapter, write_adapter
from tests.helpers.tiny_mini import make_folder, make_networks

KEY = "renderer.paint_out.bias"


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> hub.ModelCard:
    return hub.load_card(make_folder(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def info(card: hub.ModelCard) -> AdapterInfo:
    return AdapterInfo("tiny", card.sha256, "talk.mp4", 240, 60, 0, {"before": {"error": 0.05}})


def write(
    folder: Path, info: AdapterInfo, key: str = KEY, shape: tuple[int, ...] = (16,), value: float = 0.5
) -> Path:
    path = folder / "person.safetensors"
    write_adapter(path, {key: torch.full(shape, value)}, info)
    return path


def test_what_was_written_is_read_and_added_to_the_weights(
    tmp_path: Path, card: hub.ModelCard, info: AdapterInfo
) -> None:
    adapter = read_adapter(write(tmp_path, info), card)
    assert adapter.info == info
    assert adapter.summary["file"] == str(adapter.path) and adapter.summary["sha256"] == adapter.sha256
    networks, original = (
        load_model(card, {"adapter": adapter.path}).networks.state_dict(),
        make_networks().state_dict(),
    )
    for key, value in original.items():
        assert torch.equal(networks[key], value + 0.5 if key == KEY else value), key


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "other"}, "was made for model other, not for tiny"),
        ({"base": "0" * 64}, "was made for other weights of tiny (000000000000…)"),
    ],
)
def test_an_adapter_for_something_else_is_refused(
    tmp_path: Path, card: hub.ModelCard, info: AdapterInfo, change: dict[str, str], said: str
) -> None:
    with pytest.raises(ModelError) as error:
        read_adapter(write(tmp_path, replace(info, **change)), card)
    assert said in error.value.message and "lipsync adapt" in error.value.hint


def test_a_file_that_is_no_adapter_is_refused(tmp_path: Path, card: hub.ModelCard, info: AdapterInfo) -> None:
    whole = write(tmp_path, info)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-7])
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    silent, future = tmp_path / "silent.safetensors", tmp_path / "future.safetensors"
    for other, more in ((silent, {"version": 1}), (future, {"version": 2})):
        about = json.dumps({"kind": "lipsync-adapter", **more})
        save_file({KEY: torch.zeros(16)}, other, {"lipsync_adapter": about})
    assert card.folder is not None
    for path, said in {
        cut: "is damaged or no adapter",
        text: "is damaged or no adapter",
        card.folder / "w.safetensors": "holds weights, but is no adapter",
        silent: "does not say what it was made for",
        future: "is lipsync-adapter version 2; lipsync-adapter version 1 was expected",
        tmp_path / "nothing": "There is no adapter",
    }.items():
        with pytest.raises(ModelError, match=said):
            read_adapter(path, card)


@pytest.mark.parametrize(
    ("key", "shape", "value"), [("renderer.nose", (16,), 0.5), (KEY, (3,), 0.5), (KEY, (16,), float("nan"))]
)
def test_tensors_that_do_not_fit_are_refused(
    tmp_path: Path, card: hub.ModelCard, info: AdapterInfo, key: str, shape: tuple[int, ...], value: float
) -> None:
    adapter = read_adapter(write(tmp_path, info, key, shape, value), card)
    with pytest.raises(ModelError, match="does not fit the network"):
        apply_adapter(make_networks(), adapter)


@pytest.mark.parametrize("model", ["lip-forcing-14b", "passthrough"])
def test_models_without_adapters_say_so(tmp_path: Path, info: AdapterInfo, model: str) -> None:
    with pytest.raises(LipsyncError, match="cannot be adapted") as error:
        read_adapter(write(tmp_path, info), hub.load_card(model))
    assert isinstance(error.value, UsageError)
