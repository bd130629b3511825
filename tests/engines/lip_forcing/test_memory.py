"""What a model needs of a machine, and how a machine is asked what it has."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli import hub
from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.engines import memory as room
from lipsync_cli.engines.lip_forcing.config import read_config
from lipsync_cli.engines.lip_forcing.load import random_networks
from tests.helpers.narrow_lip_forcing import CONFIG, CPU


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_need_is_the_size_of_the_networks_and_of_a_full_ring(dtype):
    networks = random_networks(CONFIG, device=CPU, dtype=dtype)
    text = networks.transformer.read_text(networks.text.to(dtype))
    size = CONFIG.latent_size
    ring = networks.transformer.open_stream(text, (size, size)).nbytes
    used = [networks.transformer, networks.speech, networks.encoder.vae.encoder, networks.decoder.decoder]
    weights = sum(p.numel() * p.element_size() for network in used for p in network.parameters())
    assert room.needed_bytes(CONFIG, dtype) == weights + ring
    assert room.needed_bytes(CONFIG, dtype, devices=2) == weights + ring / 2


def test_the_14b_needs_what_its_authors_report_less_activations():
    config = read_config(hub.load_card("lip-forcing-14b").generator, model="m")
    assert 34e9 < room.needed_bytes(config, torch.bfloat16) < 37e9


def test_too_little_room_is_a_sentence_with_both_numbers(monkeypatch):
    needed = room.needed_bytes(CONFIG, torch.float32)
    monkeypatch.setattr(room, "free_bytes", lambda device: int(needed))
    room.require_room(CONFIG, name="m", device=CPU, dtype=torch.float32)
    monkeypatch.setattr(room, "free_bytes", lambda device: int(needed) - 1)
    with pytest.raises(EnvironmentProblem, match=r"Model m needs 0\.0 GB .* and cpu has 0\.0 GB free"):
        room.require_room(CONFIG, name="m", device=CPU, dtype=torch.float32)


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    1000 kB\n")
    (tmp_path / "max").write_text("900000\n")
    (tmp_path / "current").write_text("400000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(room, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(room, "CGROUPS", ((tmp_path / "none", tmp_path / "current"),))
    assert room.free_bytes(CPU) == 1_024_000
    monkeypatch.setattr(room, "CGROUPS", ((tmp_path / "max", tmp_path / "current"),))
    assert room.free_bytes(CPU) == 500_000
    monkeypatch.setattr(room, "MEMINFO", tmp_path / "absent")
    monkeypatch.setattr(room, "CGROUPS", ())
    assert room.free_bytes(CPU) is None
