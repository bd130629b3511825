"""The models that are installed, what their cards say, and their weights: found, checked, never guessed.

A model is a folder with a ``model.toml``. Weights are named there with size and sha256, and are handed out only
when both agree, so that code and weights of different versions cannot meet. A file is given as a path inside the
folder, ``file:/elsewhere/weights.safetensors``, or ``hf:owner/repository@commit/path`` on the Hugging Face hub.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lipsync_cli.errors import EnvironmentProblem, ModelError

CARD_NAME = "model.toml"
HF_URI = re.compile(r"hf:(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[0-9a-f]{40})/(?P<path>.+)")
REINSTALL = "Reinstall lipsync-cli, or restore the file from where the model came from."

Downloader = Callable[[str, str, str], Path]
State = Literal["ok", "missing", "size", "sha256"]


class Weights(BaseModel):
    """One file of a model: what it is for, where it is, and the bytes it must consist of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str = Field(min_length=1)
    file: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    licence: str
    source: str = ""

    @field_validator("file")
    @classmethod
    def _check_file(cls, value: str) -> str:
        if value.startswith("hf:") and not HF_URI.fullmatch(value):
            raise ValueError("a hub file is hf:owner/repository@commit/path with all 40 digits of the commit")
        if not value.startswith(("hf:", "file:")) and (Path(value).is_absolute() or ".." in Path(value).parts):
            raise ValueError("a file inside the model's folder is expected; others start with file: or hf:")
        return value


class ModelCard(BaseModel):
    """What ``model.toml`` says. ``generator`` holds the hyper-parameters and is checked by whoever builds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: int = Field(ge=1)
    kind: str = Field(min_length=1)
    summary: str = ""
    licence: str = ""
    generator: dict[str, Any] = Field(default_factory=dict)
    weights: tuple[Weights, ...] = ()
    folder: Path | None = Field(default=None, exclude=True)

    @field_validator("weights")
    @classmethod
    def _check_roles(cls, value: tuple[Weights, ...]) -> tuple[Weights, ...]:
        roles = [weights.role for weights in value]
        if len(set(roles)) != len(roles):
            raise ValueError("two files with the same role")
        return value

    @property
    def sha256(self) -> str:
        """One fingerprint for all weights together; empty for a model without any."""
        if len(self.weights) == 1:
            return self.weights[0].sha256
        digests = "".join(f"{w.role}:{w.sha256}\n" for w in sorted(self.weights, key=lambda w: w.role))
        return hashlib.sha256(digests.encode()).hexdigest() if digests else ""


PASSTHROUGH = ModelCard(
    name="passthrough",
    version=1,
    kind="passthrough",
    summary="Gives every face back as it was; for trying out everything around the model.",
    licence="Apache-2.0",
)


@dataclass(frozen=True, slots=True)
class FileCheck:
    """How one file of a model compares with its card."""

    model: str
    role: str
    file: str
    state: State
    detail: str = ""


def cache_folder() -> Path:
    """Where files that can be fetched or made again are kept; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "lipsync"


def models_dir() -> Path:
    """The models of the installed package, or of the source tree it runs from."""
    packaged = Path(__file__).parent / "_data" / "models"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "models"


def model_names() -> list[str]:
    """Names of the installed models, ``passthrough`` included."""
    return sorted({path.parent.name for path in models_dir().glob(f"*/{CARD_NAME}")} | {PASSTHROUGH.name})


def list_models() -> list[ModelCard]:
    """Cards of the installed models."""
    return [load_card(name) for name in model_names()]


def load_card(name_or_path: str | Path) -> ModelCard:
    """The card of an installed model, by name, or of the model in a folder, by path."""
    folder = Path(name_or_path)
    if isinstance(name_or_path, str) and Path(name_or_path).name == name_or_path and name_or_path not in (".", ".."):
        folder = models_dir() / name_or_path
        if not (folder / CARD_NAME).is_file():
            return _without_folder(name_or_path)
    return _read_card(folder if folder.name == CARD_NAME else folder / CARD_NAME)


def _without_folder(name: str) -> ModelCard:
    if name == PASSTHROUGH.name:
        return PASSTHROUGH
    close = get_close_matches(name, model_names(), n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Installed models: {', '.join(model_names())}."
    if (Path(name) / CARD_NAME).is_file():
        hint = f"To use the folder of that name write ./{name}."
    raise ModelError(f"There is no model called {name!r} in {models_dir()}.", hint=hint)


def _read_card(path: Path) -> ModelCard:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = f"A model is a folder that holds a {CARD_NAME}."
        raise ModelError(f"The model card {path} cannot be read: {error.strerror}.", hint=hint) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"The model card {path} is not valid TOML: {error}.", hint=REINSTALL) from error
    try:
        return ModelCard.model_validate({**table, "folder": path.parent})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = f"The model card {path} is wrong at {where}: {first['msg']}."
        raise ModelError(message, hint="It may belong to another version of lipsync.") from error


def verify(card: ModelCard, *, download: Downloader | None = None) -> list[FileCheck]:
    """Compare every file of a model with its card. Hub files are looked up too, so this may download."""
    return [_verify_file(card, weights, download) for weights in card.weights]


def resolve_weights(card: ModelCard, role: str, *, download: Downloader | None = None) -> Path:
    """Path of the file for ``role``, after its size and sha256 were found to be right."""
    weights = next((w for w in card.weights if w.role == role), None)
    if weights is None:
        roles = ", ".join(w.role for w in card.weights) or "none"
        raise ModelError(
            f"Model {card.name} version {card.version} has no weights for {role!r} (it has: {roles}).",
            hint="The model and this version of lipsync do not fit together; install them together.",
        )
    path = locate(card, weights, download=download)
    check = _compare(card, weights, path)
    if check.state == "missing":
        raise ModelError(f"The {role} weights of model {card.name} are missing ({check.detail}).", hint=REINSTALL)
    if check.state != "ok":
        raise ModelError(f"{path} is damaged ({check.detail}).", hint=REINSTALL)
    return path


def require_version(card: ModelCard, *, kind: str, version: int) -> None:
    """Refuse a model of another kind or version than the code was written for."""
    if (card.kind, card.version) != (kind, version):
        raise ModelError(
            f"Model {card.name} is {card.kind} version {card.version}; {kind} version {version} was expected.",
            hint="Install the model that comes with this version of lipsync.",
        )


def locate(card: ModelCard, weights: Weights, *, download: Downloader | None = None) -> Path:
    """Where the file of ``weights`` is or should be; files on the hub are downloaded into its cache."""
    if match := HF_URI.fullmatch(weights.file):
        return (download or _download)(match["repository"], match["revision"], match["path"])
    if weights.file.startswith("file:"):
        return Path(unquote(weights.file.removeprefix("file://").removeprefix("file:")))
    if card.folder is None:
        raise ModelError(f"Model {card.name} names the file {weights.file} but has no folder.")
    return card.folder / weights.file


def _verify_file(card: ModelCard, weights: Weights, download: Downloader | None) -> FileCheck:
    try:
        path = locate(card, weights, download=download)
    except (ModelError, EnvironmentProblem) as error:
        return FileCheck(card.name, weights.role, weights.file, "missing", str(error))
    return _compare(card, weights, path)


def _compare(card: ModelCard, weights: Weights, path: Path) -> FileCheck:
    def result(state: State, detail: str = "") -> FileCheck:
        return FileCheck(card.name, weights.role, weights.file, state, detail)

    if not path.is_file():
        return result("missing", f"no file {path}")
    size = path.stat().st_size
    if size != weights.bytes:
        return result("size", f"{size} bytes, expected {weights.bytes}")
    try:
        digest = _sha256(path)
    except OSError as error:
        return result("missing", f"{path} cannot be read: {error.strerror}")
    if digest != weights.sha256:
        return result("sha256", f"sha256 {digest[:12]}…, expected {weights.sha256[:12]}…")
    return result("ok")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(repository: str, revision: str, path: str) -> Path:
    """Fetch one file at a pinned commit; ``HF_HUB_OFFLINE`` is honoured by the library."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise EnvironmentProblem(
            f"{repository} is on the Hugging Face hub, and huggingface_hub is not installed.",
            hint="Run: pip install huggingface_hub",
        ) from error
    try:
        return Path(hub.hf_hub_download(repository, path, revision=revision))
    except Exception as error:  # the library has many error classes, all of which mean the same here
        raise ModelError(
            f"{path} could not be fetched from {repository}: {error}",
            hint="Check the connection, or download the model and give its folder to --model.",
        ) from error
