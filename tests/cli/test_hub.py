"""Models: strict cards, and weights handed out only when they are what the card says."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from lipsync_cli import hub
from lipsync_cli.errors import EnvironmentProblem, LipsyncError, ModelError

CONTENT = b"weights of a model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make_model(folder: Path, *, file: str = "w.safetensors", size: int | None = None, extra: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(f"""
name = "tiny"
version = 2
kind = "lip-forcing-mini"
summary = "A test."
licence = "Apache-2.0"
{extra}
[generator]
width = 8
[[weights]]
role = "generator"
file = "{file}"
sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"
bytes = {len(CONTENT) if size is None else size}
licence = "Apache-2.0"
""")
    if not file.startswith(("hf:", "file:", "/", "..")):
        (folder / file).write_bytes(CONTENT)
    return folder


def test_a_card_is_read_and_its_weights_found(tmp_path: Path) -> None:
    card = hub.load_card(make_model(tmp_path / "tiny"))
    assert (card.name, card.version, card.generator) == ("tiny", 2, {"width": 8})
    assert card.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert hub.resolve_weights(card, "generator").read_bytes() == CONTENT
    assert [check.state for check in hub.verify(card)] == ["ok"]
    assert "folder" not in card.model_dump()


def test_the_toml_itself_may_be_named(tmp_path: Path) -> None:
    assert hub.load_card(make_model(tmp_path / "tiny") / "model.toml").name == "tiny"


@pytest.mark.parametrize(
    ("content", "state"), [(None, "missing"), (CONTENT + b"!", "size"), (CONTENT[:-1] + b"!", "sha256")]
)
def test_files_that_are_not_the_cards_are_refused(tmp_path: Path, content: bytes | None, state: str) -> None:
    folder = make_model(tmp_path / "tiny")
    (folder / "w.safetensors").unlink()
    if content is not None:
        (folder / "w.safetensors").write_bytes(content)
    card = hub.load_card(folder)
    assert [check.state for check in hub.verify(card)] == [state]
    with pytest.raises(ModelError, match="missing" if content is None else "damaged") as error:
        hub.resolve_weights(card, "generator")
    assert "w.safetensors" in error.value.message
    assert "Reinstall" in error.value.hint


def test_unknown_entries_and_unsafe_files_in_a_card_are_errors(tmp_path: Path) -> None:
    for extra, file in (("colour = 1", "w"), ("", "../w"), ("", "/etc/passwd"), ("", "hf:a/b@main/w")):
        folder = make_model(tmp_path / "tiny", file=file, extra=extra)
        with pytest.raises(ModelError, match="is wrong at"):
            hub.load_card(folder)


def test_a_mistyped_model_is_suggested() -> None:
    with pytest.raises(ModelError) as error:
        hub.load_card("passthru")
    assert "Did you mean 'passthrough'?" in error.value.hint


def test_a_folder_without_a_card_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        hub.load_card(tmp_path)


def test_a_role_or_version_that_does_not_fit_is_explained(tmp_path: Path) -> None:
    card = hub.load_card(make_model(tmp_path / "tiny"))
    with pytest.raises(ModelError, match="has no weights for 'vae'"):
        hub.resolve_weights(card, "vae")
    hub.require_version(card, kind="lip-forcing-mini", version=2)
    with pytest.raises(ModelError, match="version 3 was expected"):
        hub.require_version(card, kind="lip-forcing-mini", version=3)


def test_a_file_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where.bin"
    elsewhere.write_bytes(CONTENT)
    for uri in (f"file:{elsewhere}", elsewhere.as_uri()):
        card = hub.load_card(make_model(tmp_path / "tiny", file=uri))
        assert hub.resolve_weights(card, "generator") == elsewhere


def test_a_file_on_the_hub_is_fetched_at_its_commit_and_checked(tmp_path: Path) -> None:
    asked = []

    def download(repository: str, revision: str, path: str) -> Path:
        asked.append((repository, revision, path))
        target = tmp_path / "cached"
        target.write_bytes(CONTENT)
        return target

    card = hub.load_card(make_model(tmp_path / "tiny", file=f"hf:owner/name@{COMMIT}/sub/w.safetensors"))
    assert hub.resolve_weights(card, "generator", download=download).read_bytes() == CONTENT
    assert asked == [("owner/name", COMMIT, "sub/w.safetensors")]


def test_a_hub_that_cannot_be_reached_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = hub.load_card(make_model(tmp_path / "tiny", file=f"hf:owner/name@{COMMIT}/w"))

    class Broken:
        def hf_hub_download(self, *args: object, **kwargs: object) -> str:
            raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "huggingface_hub", Broken())
    with pytest.raises(ModelError, match="no route"):
        hub.resolve_weights(card, "generator")
    assert [check.state for check in hub.verify(card)] == ["missing"]

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(EnvironmentProblem, match="huggingface_hub is not installed"):
        hub.resolve_weights(card, "generator")


def test_installed_models_are_whole() -> None:
    cards = hub.list_models()
    assert "passthrough" in {card.name for card in cards}
    for card in cards:
        assert all(check.state == "ok" for check in hub.verify(card)), card.name


@pytest.mark.parametrize("text", ["", "name = ", "name = 3", "\x00", "[weights]"])
def test_broken_cards_raise_only_our_errors(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(LipsyncError):
        hub.load_card(tmp_path)
