"""Which clips a protocol runs over: a CSV, a JSONL file, or a folder of videos."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipsync_cli.core.errors import InputError, UsageError

_VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg"}
_COLUMNS = ("video", "path")


@dataclass(frozen=True, slots=True)
class Clip:
    """A talking clip. ``name`` is unique in its manifest and fit for a file name; ``speaker`` may be empty."""

    name: str
    video: Path
    speaker: str = ""


def read_manifest(path: Path, *, where: Mapping[str, str] | None = None, limit: int | None = None) -> list[Clip]:
    """The clips a manifest lists, those whose columns have the values of ``where``, at most ``limit`` of them.

    A table has a column ``video`` (or ``path``), relative to the file, and may have ``speaker``. With ``limit``,
    speakers take turns, so that few clips still show many people. Raises InputError for a manifest that cannot be
    read or lists a file that is missing, UsageError for an unknown column.
    """
    rows = list(_rows(path))
    for column in where or {}:
        if rows and column not in rows[0]:
            columns = ", ".join(rows[0])
            raise UsageError(f"{path.name} has no column {column!r}.", hint=f"Its columns are {columns}.")
    chosen = [row for row in rows if all(str(row.get(key)) == value for key, value in (where or {}).items())]
    if not chosen:
        condition = f" with {' and '.join(f'{k}={v}' for k, v in where.items())}" if where else ""
        raise InputError(f"{path} lists no clip{condition}.", hint="A protocol needs at least one video.")
    clips = _named([_clip(row, path) for row in chosen])
    return clips if limit is None else _taking_turns(clips)[:limit]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_dir():
        videos = sorted(video for video in path.iterdir() if video.suffix.lower() in _VIDEOS)
        yield from ({"video": str(video.absolute())} for video in videos)
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"The manifest {path} cannot be read: {reason}.",
            hint="Expected a CSV, a JSONL file or a folder of videos.",
        ) from error
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        yield from _json_rows(text, path)
    else:
        yield from csv.DictReader(text.splitlines())


def _json_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"Line {number} of {path.name} is not JSON: {error.msg}.", hint="A JSONL file has one object a line."
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"Line {number} of {path.name} is no object.", hint='Write {"video": "clip.mp4"}.')
        yield row


def _clip(row: Mapping[str, Any], manifest: Path) -> Clip:
    column = next((name for name in _COLUMNS if row.get(name)), None)
    if column is None:
        columns = ", ".join(str(name) for name in row)
        raise InputError(
            f"{manifest.name} has a row without a video (columns: {columns}).", hint="Add a column video."
        )
    video = Path(row[column])
    video = video if video.is_absolute() else manifest.parent / video
    if not video.is_file():
        raise InputError(f"{manifest.name} lists {video}, which does not exist.")
    return Clip(video.stem, video, str(row.get("speaker") or ""))


def _named(clips: list[Clip]) -> list[Clip]:
    """The same with a number behind names that occur more than once."""
    used: dict[str, int] = {}
    out = []
    for clip in clips:
        count = used[clip.name] = used.get(clip.name, 0) + 1
        out.append(clip if count == 1 else Clip(f"{clip.name}-{count}", clip.video, clip.speaker))
    return out


def _taking_turns(clips: list[Clip]) -> list[Clip]:
    """Every speaker's first clip, then every speaker's second …; clips without a speaker count as one each."""
    turn: dict[str, int] = {}
    keyed = []
    for clip in clips:
        speaker = clip.speaker or clip.name
        keyed.append((turn.get(speaker, 0), clip))
        turn[speaker] = turn.get(speaker, 0) + 1
    return [clip for _, clip in sorted(keyed, key=lambda item: item[0])]


def donors(clips: list[Clip]) -> list[Clip]:
    """For every clip another one whose sound it gets in the cross protocol: the next, of another speaker if there is
    one.

    Raises InputError for a single clip.
    """
    if len(clips) < 2:
        raise InputError("The manifest lists one clip.", hint="Foreign sound needs at least two.")
    count = len(clips)
    out = []
    for index, clip in enumerate(clips):
        others = [clips[(index + step) % count] for step in range(1, count)]
        foreign = [other for other in others if other.speaker != clip.speaker or not clip.speaker]
        out.append((foreign or others)[0])
    return out
