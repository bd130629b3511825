"""Weight files: every container gives the same tensors, and what is wrong with a file is said."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lipsync_cli.core.errors import ModelError
from lipsync_cli.nn.checkpoints import load_strictly, read_tensors


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("table", torch.arange(4.0), persistent=False)


TENSORS = {"layer.weight": torch.randn(2, 3).bfloat16(), "layer.bias": torch.randn(2).bfloat16()}


def save(path: Path, content: object) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.safetensors", TENSORS),
        ("w.pth", TENSORS),
        ("w.pth", {"model": {"net": TENSORS}, "step": 3}),
        ("w.pt", {"net": {f"_core.{key}": value for key, value in TENSORS.items()}}),
        ("w.pt", {f"model.{key}": value for key, value in TENSORS.items()}),
    ],
)
def test_every_container_gives_the_same_network(tmp_path, name, content):
    network = load_strictly(Net, save(tmp_path / name, content))
    assert all(torch.equal(network.state_dict()[key], value) for key, value in TENSORS.items())
    assert network.layer.weight.dtype == torch.bfloat16
    assert torch.equal(network.table, torch.arange(4.0))
    assert not network.training and not network.layer.weight.requires_grad


def test_torch_files_of_the_old_format_are_read(tmp_path):
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_tensors(tmp_path / "old.pth").keys() == TENSORS.keys()


def test_a_file_that_does_not_fit_lists_what_is_wrong(tmp_path):
    wrong = {"layer.weight": torch.zeros(2, 4), "other": torch.zeros(1)}
    with pytest.raises(ModelError) as error:
        load_strictly(Net, save(tmp_path / "w.pth", wrong))
    said = str(error.value)
    assert "1 missing (layer.bias)" in said
    assert "1 unexpected (other)" in said
    assert "layer.weight [2, 4] instead of [2, 3]" in said


class Danger:
    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"layer.weight": Danger()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="no readable torch checkpoint"):
        read_tensors(tmp_path / "evil.pth")
    assert not Path("touched").exists()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", pickle.dumps([1, 2])])
def test_files_that_are_no_checkpoints_are_refused(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ModelError):
        read_tensors(tmp_path / "w.pth")


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    whole = save(tmp_path / "w.pth", TENSORS).read_bytes()
    for length in (len(whole) // 2, len(whole) - 40):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        with pytest.raises(ModelError, match="no readable torch checkpoint"):
            read_tensors(tmp_path / "cut.pth")


def test_a_mapping_without_tensors_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no weights"):
        read_tensors(save(tmp_path / "w.pth", {"model": {"step": 1}}))
