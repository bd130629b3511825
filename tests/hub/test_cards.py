"""Models: strict cards, and weights handed out only when they are what the card says."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import pytest

from lipsync_cli import hub
from lipsync_cli.core.errors import EnvironmentProblem, LipsyncError, ModelError
from lipsync_cli.hub import files

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
    if not file.startswith(("hf:", "https:", "file:", "/", "..")):
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


def test_a_file_on_the_hub_is_fetched_by_pull_alone_at_its_commit_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(repository: str, revision: str, path: str) -> Path:
        asked.append((repository, revision, path))
        target = tmp_path / "cached"
        target.write_bytes(CONTENT)
        return target

    monkeypatch.setitem(sys.modules, "huggingface_hub", FakeHub(tmp_path / "cached"))
    card = hub.load_card(make_model(tmp_path / "tiny", file=f"hf:owner/name@{COMMIT}/sub/w.safetensors"))
    assert [check.state for check in hub.verify(card)] == ["absent"]
    with pytest.raises(ModelError, match="has not been downloaded") as error:
        hub.resolve_weights(card, "generator")
    assert "lipsync models pull tiny" in error.value.hint
    assert asked == []
    assert [check.state for check in hub.pull(card, download=download)] == ["ok"]
    assert asked == [("owner/name", COMMIT, "sub/w.safetensors")]
    assert hub.resolve_weights(card, "generator").read_bytes() == CONTENT
    assert [check.state for check in hub.pull(card, download=download)] == ["ok"]
    assert len(asked) == 1


class FakeHub:
    """A hub whose cache holds one file, once it is there."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def try_to_load_from_cache(self, repository: str, path: str, revision: str) -> str | None:
        return str(self.file) if self.file.exists() else None

    def hf_hub_download(self, repository: str, path: str, **options: object) -> str:
        raise ConnectionError("no route")


def test_a_file_on_the_web_is_kept_under_its_digest_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    served = {"content": CONTENT[:-1] + b"?"}
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(served["content"]))
    card = hub.load_card(make_model(tmp_path / "tiny", file="https://example.org/w.safetensors"))
    assert [check.state for check in hub.verify(card)] == ["absent"]
    assert [check.state for check in hub.pull(card)] == ["sha256"]
    with pytest.raises(ModelError, match="damaged"):
        hub.resolve_weights(card, "generator")
    served["content"] = CONTENT
    assert [check.state for check in hub.pull(card)] == ["ok"]
    assert hub.resolve_weights(card, "generator").read_bytes() == CONTENT


def test_the_digest_of_a_large_file_is_remembered_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "REMEMBERED_BYTES", 4)
    path = tmp_path / "large"
    path.write_bytes(b"first")
    first = files.digest(path, afresh=False)
    hashed = []
    monkeypatch.setattr(files.hashlib, "file_digest", lambda file, kind: hashed.append(1) or hashlib.sha256())
    assert files.digest(path, afresh=False) == first
    assert hashed == []
    files.digest(path, afresh=True)
    assert hashed == [1]
    path.write_bytes(b"other!")
    files.digest(path, afresh=False)
    assert hashed == [1, 1]


def test_a_hub_that_cannot_be_reached_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = hub.load_card(make_model(tmp_path / "tiny", file=f"hf:owner/name@{COMMIT}/w"))

    monkeypatch.setitem(sys.modules, "huggingface_hub", FakeHub(tmp_path / "nothing"))
    with pytest.raises(ModelError, match="no route"):
        list(hub.pull(card))
    assert [check.state for check in hub.verify(card)] == ["absent"]

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(EnvironmentProblem, match="huggingface_hub is not installed"):
        hub.resolve_weights(card, "generator")


def test_installed_models_are_whole() -> None:
    cards = hub.list_models()
    assert {"passthrough", "lip-forcing-14b", "lip-forcing-1.3b"} <= {card.name for card in cards}
    for card in cards:
        for check, weights in zip(hub.verify(card), card.weights, strict=True):
            assert check.state == "ok" or (check.state == "absent" and hub.is_remote(weights)), check


@pytest.mark.parametrize("text", ["", "name = ", "name = 3", "\x00", "[weights]"])
def test_broken_cards_raise_only_our_errors(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(LipsyncError):
        hub.load_card(tmp_path)
