"""Where networks are found, and what is said of those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli import hub
from lipsync_cli.evaluation.needs import SOURCE, EmbeddedNetwork, Inputs, NetworkFile, NetworkOptions, NetworkRole

IN_FOLDER = NetworkFile("one", "one.pt", Path.read_bytes)
BY_OPTION = NetworkFile("two", "two.pt", Path.read_bytes, option="--two")


def reason(role: NetworkRole, options: NetworkOptions) -> str:
    return role.why_missing(Inputs(frozenset(), options))


def test_reference_is_missing_unless_it_was_given() -> None:
    assert SOURCE.why_missing(Inputs(frozenset({SOURCE}), NetworkOptions())) == ""
    assert "--source" in SOURCE.why_missing(Inputs(frozenset(), NetworkOptions()))


def test_network_file_is_looked_for_in_the_folder(tmp_path: Path) -> None:
    assert reason(IN_FOLDER, NetworkOptions()) == "needs one.pt; give its folder with --weights"
    options = NetworkOptions(folder=tmp_path)
    assert reason(IN_FOLDER, options) == f"there is no one.pt in {tmp_path}"
    assert IN_FOLDER.fingerprint(options) is None
    with pytest.raises(LookupError, match=r"one\.pt"):
        IN_FOLDER.load(options)
    (tmp_path / "one.pt").write_bytes(b"1")
    assert reason(IN_FOLDER, options) == ""
    assert IN_FOLDER.load(options) == b"1"


def test_network_file_with_an_option_is_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "two.pt").write_bytes(b"2")
    assert reason(BY_OPTION, NetworkOptions(folder=tmp_path)) == "needs two.pt; give it with --two"
    assert BY_OPTION.load(NetworkOptions({"two": tmp_path / "two.pt"})) == b"2"


def test_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "one.pt"
    options = NetworkOptions(folder=tmp_path)
    path.write_bytes(b"1")
    before = IN_FOLDER.fingerprint(options)
    path.write_bytes(b"12")
    assert IN_FOLDER.fingerprint(options) != before


def test_embedded_network_is_never_missing() -> None:
    role = EmbeddedNetwork("expert", "sync-mini", lambda: "loaded")
    assert reason(role, NetworkOptions()) == ""
    assert role.load(NetworkOptions()) == "loaded"
    assert role.fingerprint(NetworkOptions()) == hub.load_card("sync-mini").sha256


def test_roles_are_told_from_references() -> None:
    assert isinstance(IN_FOLDER, NetworkRole) and isinstance(EmbeddedNetwork("a", "b", dict), NetworkRole)
    assert not isinstance(SOURCE, NetworkRole)
