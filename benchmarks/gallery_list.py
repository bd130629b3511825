"""Whom the gallery shows and what they are to say: a TOML file beside ``clips.csv``, read and checked."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.settings import suggest

ROOT = Path(__file__).resolve().parent.parent
HELD_OUT = ("test", "val")
Kind = Literal["own", "spoken", "shouted", "sung", "silence"]


class Entry(BaseModel):
    """One person. ``video`` and ``sound`` are relative to the clips' folder, or to the repository in samples/.

    ``start``, ``seconds`` and ``sound_start`` are seconds; a clip that ends earlier is used to its end. ``held_out``
    false admits a person that training has seen, for whom there is no other example.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    shows: str = Field(min_length=1)
    video: str = Field(min_length=1)
    start: float = Field(default=0, ge=0)
    seconds: float = Field(default=3, gt=0, le=10)
    kind: Kind = "own"
    sound: str | None = None
    sound_start: float = Field(default=0, ge=0)
    held_out: bool = True

    @model_validator(mode="after")
    def _check_sound(self) -> Entry:
        if (self.sound is not None) != (self.kind in ("spoken", "shouted")):
            raise ValueError(f"kind {self.kind!r} {'wants no' if self.sound else 'needs a'} sound")
        return self


@dataclass(frozen=True, slots=True)
class Person:
    """An entry with its files found; ``speaker`` and ``split`` are empty for samples."""

    entry: Entry
    video: Path
    sound: Path | None
    speaker: str = ""
    split: str = ""


def read_people(path: Path, clips: Path, only: str | None = None) -> list[Person]:
    """The people of a list, all of them or the one called ``only``.

    Raises InputError for a list that cannot be read, that names files which are missing, or that takes somebody from
    the training split without saying so; UsageError when there is nobody called ``only``.
    """
    entries = _entries(path)
    if only is not None:
        names = [entry.name for entry in entries]
        if only not in names:
            raise UsageError(f"{path.name} has no entry {only!r}.", hint=suggest(only, names) or ", ".join(names))
        entries = [entry for entry in entries if entry.name == only]
    rows = _clip_rows(clips) if any(not _is_sample(entry.video) for entry in entries) else {}
    return [_person(entry, clips, rows, path) for entry in entries]


def _entries(path: Path) -> list[Entry]:
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The list {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is not TOML: {error}.") from error
    tables = told.pop("entry", None)
    if told or not isinstance(tables, list) or not tables:
        raise InputError(f"{path.name} is no list of people.", hint="Expected [[entry]] tables and nothing else.")
    entries = [_entry(table, number, path) for number, table in enumerate(tables, 1)]
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path.name} has two entries called {twice!r}.", hint="Files are named after entries.")
    return entries


def _entry(table: Any, number: int, path: Path) -> Entry:
    try:
        return Entry.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        name = table.get("name", "without a name") if isinstance(table, dict) else "no table"
        field = f"{first['loc'][0]}: " if first["loc"] else ""
        message = first["msg"].removeprefix("Value error, ")
        hint = f"Fields are {', '.join(Entry.model_fields)}."
        raise InputError(f"Entry {number} ({name}) of {path.name}: {field}{message}.", hint=hint) from error


def _clip_rows(clips: Path) -> dict[str, dict[str, str]]:
    table = clips / "clips.csv"
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            return {row["path"]: row for row in csv.DictReader(lines)}
    except (OSError, KeyError) as error:
        raise InputError(
            f"{clips} has no readable clips.csv.", hint="Its columns path, speaker and split say who is held out."
        ) from error


def _person(entry: Entry, clips: Path, rows: dict[str, dict[str, str]], path: Path) -> Person:
    video = _place(entry.video, clips, entry)
    sound = None if entry.sound is None else _place(entry.sound, clips, entry)
    if _is_sample(entry.video):
        return Person(entry, video, sound)
    row = rows.get(entry.video)
    if row is None:
        raise InputError(f"{entry.name}: clips.csv does not list {entry.video}.", hint=f"Correct {path.name}.")
    if entry.held_out and row["split"] not in HELD_OUT:
        raise InputError(
            f"{entry.name}: {entry.video} is of split {row['split']}, which training has seen.",
            hint="Choose a clip of test or val, or say held_out = false.",
        )
    return Person(entry, video, sound, row["speaker"], row["split"])


def _place(name: str, clips: Path, entry: Entry) -> Path:
    path = (ROOT if _is_sample(name) else clips) / name
    if not path.is_file():
        raise InputError(f"{entry.name}: there is no file {path}.")
    return path


def _is_sample(name: str) -> bool:
    return name.startswith("samples/")
