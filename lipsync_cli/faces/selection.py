"""Whose mouth is dubbed: marks every other face NOT_CHOSEN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np

from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.core.types import FaceState, Float64, TrackedFrame, UInt8
from lipsync_cli.faces.selection_policies import ByNumber, ByRank, ByReference, SelectionPolicy
from lipsync_cli.faces.tracking.tracker import Tracker

Kind = Literal["largest", "all", "left", "right", "index", "reference"]
_WORDS: tuple[Kind, ...] = ("largest", "all", "left", "right")
_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True)
class FaceChoice:
    """Which face to dub. ``index`` counts persons from 0; ``reference`` is a picture of the person."""

    kind: Kind = "largest"
    index: int = 0
    reference: Path | None = None


def parse_face_choice(text: str) -> FaceChoice:
    """Read ``largest``, ``all``, ``left``, ``right``, a number, or the path of a picture.

    Persons are numbered from 0 in order of appearance; those who appear together, from left to right.
    Raises UsageError for anything else.
    """
    for word in _WORDS:
        if text == word:
            return FaceChoice(word)
    if text.isascii() and text.isdigit():
        return FaceChoice("index", index=int(text))
    path = Path(text)
    if path.suffix.lower() in _PICTURES or path.is_file():
        return FaceChoice("reference", reference=path)
    raise UsageError(
        f"{text!r} chooses no face.",
        hint="Use largest, all, left, right, a number from 0, or the path of a picture of the person.",
    )


def select(tracked: Iterator[TrackedFrame], choice: FaceChoice, tracker: Tracker) -> Iterator[TrackedFrame]:
    """Each frame as it comes, with every face but the chosen one marked NOT_CHOSEN. Holds nothing.

    ``all`` marks nobody. ``largest``, ``left`` and ``right`` are decided when a shot shows its first face and then
    kept: another face takes over only when it has been clearly better, or the only one, for a second; ``largest``
    prefers the person chosen in the shot before. A number or a picture chooses a person wherever it is; when that
    person never came, NoFaceError is raised at the end. InputError for a picture without a face in it.
    """
    if choice.kind == "all":
        yield from tracked
        return
    policy = _policy(choice, tracker)
    for item in tracked:
        chosen = policy.choose(item)
        faces = (f if f.track_id == chosen else replace(f, state=FaceState.NOT_CHOSEN) for f in item.faces)
        yield TrackedFrame(item.frame, item.shot, tuple(faces))
    policy.finish()


def _policy(choice: FaceChoice, tracker: Tracker) -> SelectionPolicy:
    if choice.kind == "index":
        return ByNumber(choice.index, tracker.identities)
    if choice.reference is not None:
        return ByReference(embed_picture(choice.reference, tracker), choice.reference.name, tracker.identities)
    if choice.kind in ("largest", "left", "right"):
        return ByRank(choice.kind, tracker.identities)
    raise UsageError(f"{choice} chooses no face.")


def embed_picture(path: Path, tracker: Tracker) -> Float64:
    """Embedding of the largest face in a picture file; InputError when it cannot be read or shows no face."""
    embedding = tracker.embed_still(_read_picture(path))
    if embedding is None:
        raise InputError(
            f"There is no face in {path.name}.", hint="Give a picture with a clearly visible, mostly frontal face."
        )
    return embedding


def _read_picture(path: Path) -> UInt8:
    """RGB ``[h w 3]``, upright as its EXIF tag says."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"The picture {path} cannot be read: {error.strerror or error}.") from error
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if bgr is None:
        raise InputError(f"{path} is not a picture that can be decoded.", hint="Use a JPEG or PNG file.")
    return cast(UInt8, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
