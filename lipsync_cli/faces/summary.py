"""What a video holds for ``lipsync inspect``: its shots, who is in them, when, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lipsync_cli.core.types import Box, Face, FaceState, Float64, Frame, TrackedFrame, UInt8
from lipsync_cli.faces.face_patch import cut_patch, pose_of_box
from lipsync_cli.faces.identity import Identities
from lipsync_cli.faces.tracking.tracker import Tracker


@dataclass(frozen=True, slots=True)
class StateSpan:
    """A run of frames in one state; ``first`` and ``last`` are their presentation times in seconds."""

    state: FaceState
    first: float
    last: float
    frames: int


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """One face in one shot.

    ``person`` is equal for tracks of the same person (None: there is no embedding); ``box`` and ``thumbnail`` (RGB
    uint8 ``[160 160 3]``) are from its best frame at ``best_time``; ``width_px`` is the median box width;
    ``yaw`` its least and greatest; ``embedding`` ``[128]`` is None for a face that never gave a sample.
    """

    track_id: int
    shot: int
    person: int | None
    spans: tuple[StateSpan, ...]
    width_px: float
    yaw: tuple[float, float]
    best_time: float
    box: Box
    thumbnail: UInt8
    embedding: Float64 | None

    @property
    def first(self) -> float:
        """Time of its first frame in seconds."""
        return self.spans[0].first

    @property
    def last(self) -> float:
        """Time of its last frame in seconds."""
        return self.spans[-1].last

    @property
    def frames(self) -> int:
        """How many frames it spans, those in which it was missing included."""
        return sum(span.frames for span in self.spans)

    def share(self, state: FaceState) -> float:
        """Which part of the track's frames, 0 … 1, is in ``state``."""
        return sum(span.frames for span in self.spans if span.state == state) / self.frames


@dataclass(frozen=True, slots=True)
class ShotSummary:
    """One shot; ``without_face`` counts its frames without any face."""

    shot: int
    first: float
    last: float
    frames: int
    without_face: int
    tracks: tuple[TrackSummary, ...]


def summarise(tracked: Iterator[TrackedFrame], tracker: Tracker) -> Iterator[ShotSummary]:
    """One summary per shot, as each ends. Holds one thumbnail per face of the shot and no frames."""
    shot: _ShotRecord | None = None
    for item in tracked:
        if shot is not None and item.shot != shot.number:
            yield shot.close(tracker.identities)
            shot = None
        if shot is None:
            shot = _ShotRecord(item.shot, float(item.frame.time))
        shot.add(item, tracker)
    if shot is not None:
        yield shot.close(tracker.identities)


@dataclass(slots=True)
class _TrackRecord:
    """What is noted of a track while its shot lasts."""

    spans: list[StateSpan] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    yaws: list[float] = field(default_factory=list)
    merit: float = -1.0
    best_time: float = 0.0
    box: Box = (0.0, 0.0, 0.0, 0.0)
    thumbnail: UInt8 = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))

    def add(self, face: Face, frame: Frame, to_display: Float64) -> None:
        time = float(frame.time)
        if self.spans and self.spans[-1].state == face.state:
            span = self.spans[-1]
            self.spans[-1] = StateSpan(span.state, span.first, time, span.frames + 1)
        else:
            self.spans.append(StateSpan(face.state, time, time, 1))
        if face.state == FaceState.MISSING:
            return
        self.widths.append(face.width_px)
        self.yaws.append(face.yaw)
        merit = face.width_px * (1 - abs(face.yaw)) * (2 if face.state == FaceState.OK else 1)
        # A little better is not worth another thumbnail.
        if merit > 1.05 * self.merit and frame.rgb is not None:
            self.merit, self.best_time, self.box = merit, time, face.box
            self.thumbnail = cut_patch(frame.rgb, to_display, pose_of_box(face.box)).rgb

    def close(self, track_id: int, shot: int, identities: Identities) -> TrackSummary:
        return TrackSummary(
            track_id=track_id,
            shot=shot,
            person=identities.person(track_id),
            spans=tuple(self.spans),
            width_px=float(np.median(self.widths)) if self.widths else 0.0,
            yaw=(min(self.yaws, default=0.0), max(self.yaws, default=0.0)),
            best_time=self.best_time,
            box=self.box,
            thumbnail=self.thumbnail,
            embedding=identities.get(track_id),
        )


@dataclass(slots=True)
class _ShotRecord:
    """What is noted of a shot while it lasts."""

    number: int
    first: float
    last: float = 0.0
    frames: int = 0
    without_face: int = 0
    tracks: dict[int, _TrackRecord] = field(default_factory=dict)

    def add(self, item: TrackedFrame, tracker: Tracker) -> None:
        self.last = float(item.frame.time)
        self.frames += 1
        self.without_face += all(face.state == FaceState.MISSING for face in item.faces)
        for face in item.faces:
            record = self.tracks.setdefault(face.track_id, _TrackRecord())
            record.add(face, item.frame, tracker.info.to_display)

    def close(self, identities: Identities) -> ShotSummary:
        tracks = [record.close(track_id, self.number, identities) for track_id, record in sorted(self.tracks.items())]
        return ShotSummary(self.number, self.first, self.last, self.frames, self.without_face, tuple(tracks))
