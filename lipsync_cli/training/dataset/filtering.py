"""From all stretches to those worth training on: filters, duplicates, splits, and a balanced subset that fits."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lipsync_cli.training.dataset.av_lag import ClipLag, decide_lags
from lipsync_cli.training.dataset.format import LATENT_RATE, ClipRecord
from lipsync_cli.training.dataset.limits import Limits
from lipsync_cli.training.dataset.quality import differing_bits
from lipsync_cli.training.dataset.segmenting import SegmentedSource, Stretch
from lipsync_cli.training.dataset.sources import Source
from lipsync_cli.training.dataset.speakers import cluster_faces, split_speakers

DUPLICATE, ENOUGH, NO_ROOM, UNKNOWN_SPEAKER = (
    "duplicate",
    "enough of the speaker",
    "beyond the size",
    "speaker unknown",
)
# Of a size limit, the most that held-out speakers may take.
HELD_OUT_SHARE = {"val": 0.1, "test": 0.1}
# Among copies of one clip, those that must not be trained on come first.
_DUPLICATE_ORDER = {"test": 0, "val": 1, "train": 2}


@dataclass(frozen=True, slots=True)
class ClipSelection:
    """``chosen`` records; how many clips, and how many frames, were left out for each reason."""

    chosen: list[ClipRecord]
    rejected: Counter[str] = field(default_factory=Counter)
    frames_rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Candidate:
    record: ClipRecord
    stretch: Stretch


def select_clips(
    pairs: Sequence[tuple[Source, SegmentedSource]],
    limits: Limits,
    *,
    crop_size: int,
    seconds_per_speaker: float,
    max_bytes: int | None = None,
) -> ClipSelection:
    """Everything that is decided over all clips together; depends on the arguments alone."""
    selection = ClipSelection([])
    lags = decide_lags(pairs, limits)
    named = _with_speakers(pairs)
    candidates = []
    for source, result in named:
        for stretch in result.stretches:
            candidate = _candidate(source, stretch, lags[result.path], crop_size)
            reason = rejection(stretch, result, limits) or lags[result.path].rejected or _unknown_speaker(source)
            if reason:
                _reject(selection, candidate, reason)
            else:
                candidates.append(candidate)
    candidates = _without_duplicates(candidates, selection, limits)
    candidates = _capped_by_speaker(candidates, selection, seconds_per_speaker)
    if max_bytes is not None:
        candidates = _fitting(candidates, selection, max_bytes)
    selection.chosen.extend(sorted((c.record for c in candidates), key=lambda record: record.name))
    return selection


def rejection(stretch: Stretch, result: SegmentedSource, limits: Limits) -> str:
    """Why a stretch cannot be used by its own figures; empty if it can."""
    checks = {
        "too short": stretch.frames < limits.frames,
        "damaged": result.damaged or stretch.jump > limits.jump or stretch.frozen > limits.frozen,
        "face too small": stretch.face_px < limits.face_px,
        "head turned": stretch.yaw > limits.yaw or stretch.pitch > limits.pitch,
        "blurred": stretch.blur < limits.blur,
        "silent": stretch.level_db < limits.level_db,
    }
    return next((reason for reason, applies in checks.items() if applies), "")


def _unknown_speaker(source: Source) -> str:
    return "" if source.speaker is not None and source.split is not None else UNKNOWN_SPEAKER


def _with_speakers(pairs: Sequence[tuple[Source, SegmentedSource]]) -> list[tuple[Source, SegmentedSource]]:
    """The same with speakers from faces and splits from speakers where they are not given."""
    faces = {
        result.path: result.face for source, result in pairs if source.speaker is None and result.face is not None
    }
    people = cluster_faces(faces)
    named = [(replace(s, speaker=s.speaker or people.get(s.path)), result) for s, result in pairs]
    splits = split_speakers(s.speaker for s, _ in named if s.speaker is not None and s.split is None)
    return [(replace(s, split=s.split or splits.get(s.speaker or "")), result) for s, result in named]


def _candidate(source: Source, stretch: Stretch, lag: ClipLag, crop_size: int) -> _Candidate:
    record = ClipRecord(
        stretch.name, source.path, source.split or "", source.speaker or "", source.licence, stretch.frames,
        crop_size, stretch.first_s, stretch.source_scale, stretch.face_px, stretch.yaw, stretch.pitch, stretch.blur,
        lag.frames, lag.origin, lag.confidence, stretch.bytes, stretch.sha256,
    )  # fmt: skip
    return _Candidate(record, stretch)


def _reject(selection: ClipSelection, candidate: _Candidate, reason: str) -> None:
    selection.rejected[reason] += 1
    selection.frames_rejected[reason] += candidate.record.frames


def _without_duplicates(candidates: list[_Candidate], selection: ClipSelection, limits: Limits) -> list[_Candidate]:
    """One of every set of copies: a held-out one before one of train, then the one with the largest face."""
    if not candidates:
        return []
    order = sorted(candidates, key=lambda c: (_DUPLICATE_ORDER[c.record.split], -c.record.face_px, c.record.name))
    pictures, sounds = (
        np.stack([np.frombuffer(bytes.fromhex(getattr(c.stretch, part)), np.uint8) for c in order])
        for part in ("picture", "sound")
    )
    kept: list[int] = []
    for index, candidate in enumerate(order):
        alike = differing_bits(sounds[index], sounds[kept]) <= limits.duplicate_sound
        alike &= differing_bits(pictures[index], pictures[kept]) <= limits.duplicate_picture
        if kept and alike.any():
            _reject(selection, candidate, DUPLICATE)
        else:
            kept.append(index)
    return [order[index] for index in kept]


def _capped_by_speaker(
    candidates: Iterable[_Candidate], selection: ClipSelection, seconds: float
) -> list[_Candidate]:
    """Clips of each speaker until there are ``seconds``, in an order that is random and always the same."""
    used: Counter[tuple[str, str]] = Counter()
    kept = []
    for candidate in sorted(candidates, key=_shuffled):
        if used[_speaker(candidate)] < seconds * LATENT_RATE:
            used[_speaker(candidate)] += candidate.record.frames
            kept.append(candidate)
        else:
            _reject(selection, candidate, ENOUGH)
    return kept


def _fitting(candidates: Iterable[_Candidate], selection: ClipSelection, max_bytes: int) -> list[_Candidate]:
    """At most ``max_bytes``: always another clip of the speaker with the fewest bytes so far, while it fits."""
    waiting: dict[tuple[str, str], list[_Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=_shuffled, reverse=True):
        waiting[_speaker(candidate)].append(candidate)
    used: Counter[tuple[str, str]] = Counter()
    room = {split: int(share * max_bytes) for split, share in HELD_OUT_SHARE.items()}
    left, kept = max_bytes, []
    while waiting:
        speaker = min(waiting, key=lambda key: (used[key], key))
        candidate = waiting[speaker].pop()
        if not waiting[speaker]:
            del waiting[speaker]
        size, split = candidate.record.bytes, candidate.record.split
        if size > min(left, room.get(split, left)):
            _reject(selection, candidate, NO_ROOM)
            continue
        left -= size
        if split in room:
            room[split] -= size
        used[speaker] += size
        kept.append(candidate)
    return kept


def _speaker(candidate: _Candidate) -> tuple[str, str]:
    return candidate.record.split, candidate.record.speaker


def _shuffled(candidate: _Candidate) -> str:
    return hashlib.sha256(candidate.record.name.encode()).hexdigest()
