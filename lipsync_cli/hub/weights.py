"""The weights of a model: found, checked, never guessed.

Files are handed out only when size and sha256 are what the model's card says, so that code and weights of different
versions cannot meet. Only a file that a commit of the hub pins may lack both, where they are not known; it is then
said to be unverified. Remote files are downloaded by ``pull`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from lipsync_cli.core.errors import EnvironmentProblem, ModelError
from lipsync_cli.hub import files
from lipsync_cli.hub.cards import HF_URI, REINSTALL, ModelCard, Weights

Downloader = Callable[[str, str, str], Path]
State = Literal["ok", "unverified", "absent", "missing", "size", "sha256"]
USABLE: tuple[State, ...] = ("ok", "unverified")
"""States of files that are as far as can be told what their card says."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """How one file of a model compares with its card."""

    model: str
    role: str
    file: str
    state: State
    detail: str = ""


def verify(card: ModelCard, *, afresh: bool = True) -> list[FileCheck]:
    """Compare every file of a model with its card. Nothing is downloaded.

    Unless ``afresh``, a large file that did not change since it was last read whole is not read again.
    """
    return [_verify_file(card, weights, afresh=afresh) for weights in card.weights]


def pull(card: ModelCard, *, download: Downloader | None = None) -> Iterator[FileCheck]:
    """Download what is missing of a model, file by file, and compare it with its card."""
    for weights in card.weights:
        check = _verify_file(card, weights)
        if check.state not in USABLE and is_remote(weights):
            check = _compare(card, weights, _fetch(weights, download, again=check.state != "absent"), afresh=True)
        yield check


def resolve_weights(card: ModelCard, role: str) -> Path:
    """Path of the file for ``role``, after its size and sha256 were found to be right. Nothing is downloaded."""
    weights = next((w for w in card.weights if w.role == role), None)
    if weights is None:
        roles = ", ".join(w.role for w in card.weights) or "none"
        raise ModelError(
            f"Model {card.name} version {card.version} has no weights for {role!r} (it has: {roles}).",
            hint=card.unpublished
            or "The model and this version of lipsync do not fit together; install them together.",
        )
    path = locate(card, weights)
    check = _verify_file(card, weights, afresh=False)
    if check.state == "absent":
        raise ModelError(
            f"Model {card.name} has not been downloaded: its {role} file is missing.",
            hint=f"Run: lipsync models pull {card.name} ({download_size(card)}).",
        )
    if check.state == "missing":
        raise ModelError(f"The {role} weights of model {card.name} are missing ({check.detail}).", hint=REINSTALL)
    if check.state not in USABLE or path is None:
        hint = f"Run: lipsync models pull {card.name}." if is_remote(weights) else REINSTALL
        raise ModelError(f"{path} is damaged ({check.detail}).", hint=hint)
    return path


def download_size(card: ModelCard) -> str:
    """How much ``pull`` downloads at most, in words."""
    remote = [weights for weights in card.weights if is_remote(weights)]
    total = f"{sum(weights.bytes for weights in remote) / 1e9:.1f} GB"
    unknown = sum(not weights.bytes for weights in remote)
    return f"{total} and {unknown} of unknown size" if unknown else total


def is_remote(weights: Weights) -> bool:
    """Whether a file has to be downloaded before it can be used."""
    return weights.file.startswith(("hf:", "https:"))


def locate(card: ModelCard, weights: Weights) -> Path | None:
    """Where the file of ``weights`` is or should be; None for one on the hub that has not been downloaded."""
    if match := HF_URI.fullmatch(weights.file):
        return files.on_hub(match["repository"], match["revision"], match["path"])
    if weights.file.startswith("https:"):
        return files.on_web(weights.file, weights.sha256)
    if weights.file.startswith("file:"):
        return Path(unquote(weights.file.removeprefix("file://").removeprefix("file:")))
    if card.folder is None:
        raise ModelError(f"Model {card.name} names the file {weights.file} but has no folder.")
    return card.folder / weights.file


def _fetch(weights: Weights, download: Downloader | None, *, again: bool) -> Path:
    if match := HF_URI.fullmatch(weights.file):
        fetch = download or partial(files.fetch_from_hub, again=again)
        return fetch(match["repository"], match["revision"], match["path"])
    return files.fetch_from_web(weights.file, weights.sha256)


def _verify_file(card: ModelCard, weights: Weights, *, afresh: bool = True) -> FileCheck:
    try:
        path = locate(card, weights)
    except (ModelError, EnvironmentProblem) as error:
        return FileCheck(card.name, weights.role, weights.file, "missing", str(error))
    if path is None or (is_remote(weights) and not path.is_file()):
        return FileCheck(card.name, weights.role, weights.file, "absent", "not downloaded")
    return _compare(card, weights, path, afresh=afresh)


def _compare(card: ModelCard, weights: Weights, path: Path, *, afresh: bool) -> FileCheck:
    def result(state: State, detail: str = "") -> FileCheck:
        return FileCheck(card.name, weights.role, weights.file, state, detail)

    if not path.is_file():
        return result("missing", f"no file {path}")
    if not weights.sha256:
        return result("unverified", "its card knows no sha256")
    size = path.stat().st_size
    if size != weights.bytes:
        return result("size", f"{size} bytes, expected {weights.bytes}")
    try:
        digest = files.digest(path, afresh=afresh)
    except OSError as error:
        return result("missing", f"{path} cannot be read: {error.strerror}")
    if digest != weights.sha256:
        return result("sha256", f"sha256 {digest[:12]}…, expected {weights.sha256[:12]}…")
    return result("ok")
