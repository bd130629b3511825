"""The models that are installed, what their cards say, and their weights: found, checked, never guessed.

A model is a folder with a ``model.toml``. Weights are named there with size and sha256, and are handed out only
when both agree, so that code and weights of different versions cannot meet. Only a file that a commit of the hub
pins may lack both, where they are not known; it is then said to be unverified. A file is given as a path inside the
folder, ``file:/elsewhere/weights.safetensors``, ``hf:owner/repository@commit/path`` on the Hugging Face hub, or an
``https:`` address. Remote files are downloaded by ``pull`` alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lipsync_cli import model_files
from lipsync_cli.core.errors import EnvironmentProblem, ModelError

CARD_NAME = "model.toml"
HF_URI = re.compile(r"hf:(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[0-9a-f]{40})/(?P<path>.+)")
REINSTALL = "Reinstall lipsync-cli, or restore the file from where the model came from."

Downloader = Callable[[str, str, str], Path]
Sizes = TypeVar("Sizes", bound=BaseModel)
State = Literal["ok", "unverified", "absent", "missing", "size", "sha256"]
USABLE: tuple[State, ...] = ("ok", "unverified")
"""States of files that are as far as can be told what their card says."""


class Weights(BaseModel):
    """One file of a model: what it is for, where it is, and the bytes it must consist of.

    ``sha256`` empty and ``bytes`` 0 mean that they are not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str = Field(min_length=1)
    file: str = Field(min_length=1)
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    bytes: int = Field(0, ge=0)
    licence: str
    source: str = ""

    @field_validator("file")
    @classmethod
    def _check_file(cls, value: str) -> str:
        if value.startswith("hf:") and not HF_URI.fullmatch(value):
            raise ValueError("a hub file is hf:owner/repository@commit/path with all 40 digits of the commit")
        if not value.startswith(("hf:", "https:", "file:")) and (
            Path(value).is_absolute() or ".." in Path(value).parts
        ):
            raise ValueError("a file inside the model's folder is expected; others start with file:, hf: or https:")
        return value

    @model_validator(mode="after")
    def _check_digest(self) -> Weights:
        if bool(self.sha256) != bool(self.bytes):
            raise ValueError("sha256 and bytes are both known, or neither is")
        if not self.sha256 and not self.file.startswith("hf:"):
            raise ValueError("only a file that a commit of the hub pins may do without sha256 and bytes")
        return self


class ModelCard(BaseModel):
    """What ``model.toml`` says. ``generator`` holds the hyper-parameters and is checked by whoever builds it.

    ``unpublished`` says what to do about a file that its authors have not published.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: int = Field(ge=1)
    kind: str = Field(min_length=1)
    summary: str = ""
    licence: str = ""
    unpublished: str = ""
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
        """One fingerprint for all weights together; empty for a model without any. Where a file's digest is not
        known, its address stands for it."""
        if len(self.weights) == 1 and self.weights[0].sha256:
            return self.weights[0].sha256
        digests = "".join(f"{w.role}:{w.sha256 or w.file}\n" for w in sorted(self.weights, key=lambda w: w.role))
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


def write_card(card: ModelCard, folder: Path) -> None:
    """Write ``card`` as the ``model.toml`` of ``folder``. Its values are texts, numbers and lists of them, which TOML
    writes as JSON does."""
    head = card.model_dump(include={"name", "version", "kind", "summary", "licence", "unpublished"})
    lines = _entries({key: value for key, value in head.items() if value})
    lines += ["", "[generator]", *_entries(card.generator)]
    for weights in card.weights:
        lines += ["", "[[weights]]", *_entries(weights.model_dump())]
    (folder / CARD_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _entries(table: dict[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]


def read_table(table: dict[str, Any], sizes: type[Sizes], *, model: str) -> Sizes:
    """The ``[generator]`` table of model ``model`` as ``sizes``; ModelError names the wrong key."""
    try:
        return sizes.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "generator"
        raise ModelError(
            f"The generator table of model {model} is wrong at {where}: {first['msg']}.",
            hint="The model may belong to another version of lipsync.",
        ) from error


def verify(card: ModelCard) -> list[FileCheck]:
    """Compare every file of a model with its card, all bytes of it. Nothing is downloaded."""
    return [_verify_file(card, weights) for weights in card.weights]


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


def require_version(card: ModelCard, *, kind: str, version: int) -> None:
    """Refuse a model of another kind or version than the code was written for."""
    if (card.kind, card.version) != (kind, version):
        raise ModelError(
            f"Model {card.name} is {card.kind} version {card.version}; {kind} version {version} was expected.",
            hint="Install the model that comes with this version of lipsync.",
        )


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
        return model_files.on_hub(match["repository"], match["revision"], match["path"])
    if weights.file.startswith("https:"):
        return model_files.on_web(weights.file, weights.sha256)
    if weights.file.startswith("file:"):
        return Path(unquote(weights.file.removeprefix("file://").removeprefix("file:")))
    if card.folder is None:
        raise ModelError(f"Model {card.name} names the file {weights.file} but has no folder.")
    return card.folder / weights.file


def _fetch(weights: Weights, download: Downloader | None, *, again: bool) -> Path:
    if match := HF_URI.fullmatch(weights.file):
        fetch = download or partial(model_files.fetch_from_hub, again=again)
        return fetch(match["repository"], match["revision"], match["path"])
    return model_files.fetch_from_web(weights.file, weights.sha256)


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
        digest = model_files.digest(path, afresh=afresh)
    except OSError as error:
        return result("missing", f"{path} cannot be read: {error.strerror}")
    if digest != weights.sha256:
        return result("sha256", f"sha256 {digest[:12]}…, expected {weights.sha256[:12]}…")
    return result("ok")
