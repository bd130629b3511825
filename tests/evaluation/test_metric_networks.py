"""Networks are loaded once a role."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.core.errors import ModelError
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.needs import NetworkFile, NetworkOptions


def counting(loaded: list[str], name: str) -> NetworkFile:
    def read(path: Path) -> object:
        loaded.append(name)
        if path.read_bytes() == b"bad":
            raise ModelError(f"{path.name} is bad")
        return object()

    return NetworkFile(name, f"{name}.pt", read)


def test_networks_are_loaded_once(tmp_path: Path) -> None:
    loaded: list[str] = []
    one, two = counting(loaded, "one"), counting(loaded, "two")
    for name in ("one", "two"):
        (tmp_path / f"{name}.pt").write_bytes(b"good")
    networks = MetricNetworks(NetworkOptions(folder=tmp_path))
    assert networks.get(one) is networks.get(one)
    networks.load([one, two])
    assert loaded == ["one", "two"]


def test_networks_that_are_missing_are_not_loaded(tmp_path: Path) -> None:
    loaded: list[str] = []
    networks = MetricNetworks(NetworkOptions(folder=tmp_path))
    networks.load([counting(loaded, "one")])
    assert loaded == [] and not networks.has(counting(loaded, "one"))


def test_networks_that_are_damaged_fail_when_all_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "one.pt").write_bytes(b"bad")
    with pytest.raises(ModelError, match="is bad"):
        MetricNetworks(NetworkOptions(folder=tmp_path)).load([counting([], "one")])


def test_networks_of_one_name_are_still_two(tmp_path: Path) -> None:
    """Roles of different packages may be called alike."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.pt").write_bytes(name.encode())
    mine, theirs = (NetworkFile("lpips", f"{name}.pt", Path.read_bytes) for name in ("one", "two"))
    networks = MetricNetworks(NetworkOptions(folder=tmp_path))
    assert (networks.get(mine), networks.get(theirs)) == (b"one", b"two")
