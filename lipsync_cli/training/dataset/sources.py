"""Which talking clips there are to prepare: those of a ``clips.csv``, or every video of a folder."""

from __future__ import annotations

import csv
import hashlib
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.core.errors import InputError, LipsyncError
from lipsync_cli.media.probe import probe

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp"}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Source:
    """One clip to prepare, ``path`` relative to the folder. ``split``, ``speaker``: None where not given.

    ``lag_frames`` is how late its sound is by the list, in frames of 25 a second.
    """

    path: str
    seconds: float
    split: str | None = None
    speaker: str | None = None
    licence: str = "unknown"
    lag_frames: int | None = None

    @property
    def name(self) -> str:
        """Names its files; the same however many other clips there are."""
        return hashlib.sha256(self.path.encode()).hexdigest()[:10]


def find_sources(data: Path, *, seconds_per_speaker: float, seed: int = 0) -> list[Source]:
    """Clips of ``data`` by path, at most about ``seconds_per_speaker`` of each known speaker, drawn with ``seed``.

    With a ``clips.csv`` (columns path and, where known, split, speaker, licence, duration_s, sync_lag_frames) its
    rows; without one every video below the folder, whose speaker is the folder it lies in, if not ``data`` itself.
    Raises InputError for a folder without clips and for a CSV that names none or an unknown split.
    """
    if not data.is_dir():
        raise InputError(f"{data} is not a folder.", hint="Give the folder that holds the clips.")
    listed = data / "clips.csv"
    sources = _listed(listed) if listed.is_file() else _found(data)
    if not sources:
        raise InputError(f"{data} holds no clips.", hint="Give a folder with videos of talking people in it.")
    return sorted(_capped(sources, seconds_per_speaker, seed), key=lambda source: source.path)


def _listed(path: Path) -> list[Source]:
    with path.open(newline="") as handle:
        reader = csv.DictReader(handle)
        if "path" not in (reader.fieldnames or ()):
            raise InputError(f"{path} has no column 'path'.", hint="It names each clip, relative to the folder.")
        return [_row(row, path, line) for line, row in enumerate(reader, 2)]


def _row(row: dict[str, str | None], path: Path, line: int) -> Source:
    cells = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
    split = cells.get("split") or None
    if split is not None and split not in SPLITS:
        raise InputError(f"Line {line} of {path} has the split {split!r}; it must be one of {', '.join(SPLITS)}.")
    try:
        lag = cells.get("sync_lag_frames")
        seconds = float(cells.get("duration_s") or _seconds(path.parent / cells["path"]))
        return Source(
            cells["path"],
            seconds,
            split,
            cells.get("speaker") or None,
            cells.get("licence") or "unknown",
            int(lag) if lag else None,
        )
    except ValueError as error:
        raise InputError(f"Line {line} of {path} holds no number where one belongs: {error}.") from error


def _found(data: Path) -> list[Source]:
    paths = sorted(path for path in data.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    return [
        Source(
            path.relative_to(data).as_posix(),
            _seconds(path),
            speaker=path.parent.relative_to(data).as_posix() if path.parent != data else None,
        )
        for path in paths
    ]


def _seconds(path: Path) -> float:
    """0 for what cannot be read; segmenting it gives the reason."""
    try:
        return float(probe(path).duration or 0)
    except LipsyncError:
        return 0.0


def _capped(sources: list[Source], seconds: float, seed: int) -> list[Source]:
    drawn = list(sources)
    random.Random(seed).shuffle(drawn)
    used: Counter[tuple[str | None, str]] = Counter()
    kept = []
    for source in drawn:
        if source.speaker is not None:
            key = (source.split, source.speaker)
            if used[key] >= 1000 * seconds:
                continue
            used[key] += round(1000 * source.seconds)
        kept.append(source)
    return kept
