"""The models that are installed, and what their cards say.

A model is a folder with a ``model.toml``. Weights are named there with size and sha256. A file is given as a path
inside the folder, ``file:/elsewhere/weights.safetensors``, ``hf:owner/repository@commit/path`` on the Hugging Face
hub, or an ``https:`` address.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.resources import resource_folder

CARD_NAME = "model.toml"
MODELS_GROUP = "lipsync.models"
"""Entry points by which other packages bring models along."""
HF_URI = re.compile(r"hf:(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[0-9a-f]{40})/(?P<path>.+)")
REINSTALL = "Reinstall lipsync-cli, or restore the file from where the model came from."

Sizes = TypeVar("Sizes", bound=BaseModel)


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


def models_dir() -> Path:
    """The models of the installed package, or of the source tree it runs from."""
    return resource_folder("models")


def model_names() -> list[str]:
    """Names of the installed models, those of other packages included."""
    return sorted({path.parent.name for path in models_dir().glob(f"*/{CARD_NAME}")} | set(_brought_along()))


def list_models() -> list[ModelCard]:
    """Cards of the installed models."""
    return [load_card(name) for name in model_names()]


def load_card(name_or_path: str | Path) -> ModelCard:
    """The card of an installed model, by name, or of the model in a folder, by path."""
    folder = Path(name_or_path)
    if isinstance(name_or_path, str) and Path(name_or_path).name == name_or_path and name_or_path not in (".", ".."):
        folder = models_dir() / name_or_path
        if not (folder / CARD_NAME).is_file():
            return _from_other_package(name_or_path)
    return _read_card(folder if folder.name == CARD_NAME else folder / CARD_NAME)


def _from_other_package(name: str) -> ModelCard:
    point = _brought_along().get(name)
    if point is not None:
        return _brought_card(name, point)
    close = get_close_matches(name, model_names(), n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Installed models: {', '.join(model_names())}."
    if (Path(name) / CARD_NAME).is_file():
        hint = f"To use the folder of that name write ./{name}."
    raise ModelError(f"There is no model called {name!r} in {models_dir()}.", hint=hint)


def _brought_card(name: str, point: EntryPoint) -> ModelCard:
    """A card that another package holds in Python, or the card in a folder of its own."""
    try:
        card = point.load()
    except Exception as error:  # whatever goes wrong in somebody else's package
        raise ModelError(f"The model {name!r} of {point.value} cannot be loaded: {error}") from error
    if isinstance(card, str | Path):
        card = _read_card(Path(card) / CARD_NAME)
    if not isinstance(card, ModelCard) or card.name != name:
        raise ModelError(
            f"{point.value} is not the card of a model called {name!r}.",
            hint="An entry point of lipsync.models names a ModelCard, or the folder of one, under its own name.",
        )
    return card


@cache
def _brought_along() -> Mapping[str, EntryPoint]:
    """Models of other packages, by name; those that come with this one cannot be replaced."""
    return {point.name: point for point in entry_points(group=MODELS_GROUP)}


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


def require_version(card: ModelCard, *, kind: str, version: int) -> None:
    """Refuse a model of another kind or version than the code was written for."""
    if (card.kind, card.version) != (kind, version):
        raise ModelError(
            f"Model {card.name} is {card.kind} version {card.version}; {kind} version {version} was expected.",
            hint="Install the model that comes with this version of lipsync.",
        )
