"""How a machine is asked what memory it has, and what is said when that is too little."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.engines import memory
from lipsync_cli.engines.memory import require_memory

CPU = torch.device("cpu")


def test_require_memory_says_both_numbers(monkeypatch):
    need = {"name": "m", "what": "its weights", "device": CPU, "dtype": torch.float32}
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**9)
    require_memory(1e9, **need)
    with pytest.raises(EnvironmentProblem, match=r"Model m needs 2\.0 GB of memory for its weights .* 1\.0 GB free"):
        require_memory(2e9, **need)
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)
    require_memory(1e15, **need)  # nothing tells, so nothing is refused


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    1000 kB\n")
    (tmp_path / "max").write_text("900000\n")
    (tmp_path / "current").write_text("400000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUPS", ((tmp_path / "none", tmp_path / "current"),))
    assert memory.free_bytes(CPU) == 1_024_000
    monkeypatch.setattr(memory, "CGROUPS", ((tmp_path / "max", tmp_path / "current"),))
    assert memory.free_bytes(CPU) == 500_000
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "absent")
    monkeypatch.setattr(memory, "CGROUPS", ())
    assert memory.free_bytes(CPU) is None
