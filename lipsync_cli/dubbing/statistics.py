"""What happened to every frame, counted as it leaves: the facts a report is made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from lipsync_cli.dubbing.report import SpanEntry, TrackEntry
from lipsync_cli.dubbing.segments import DUBBED, UNCHANGED, Slot

MAX_SPANS = 1000


@dataclass(slots=True)
class _TrackCount:
    shot: int
    start: float
    end: float
    frames: int = 0
    dubbed: int = 0
    width_sum: float = 0.0


@dataclass(slots=True)
class FrameStatistics:
    """Counts by reason, spans of frames treated alike, and one entry per track. Memory grows with tracks and spans.

    Times are seconds of the output.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    spans: list[SpanEntry] = field(default_factory=list)
    spans_dropped: int = 0
    end: float = 0.0
    _tracks: dict[int, _TrackCount] = field(default_factory=dict)

    def add(self, slot: Slot, duration: Fraction) -> None:
        """Count a frame that is shown for ``duration`` seconds."""
        start = float(slot.frame.time)
        self.end = start + float(duration)
        self.reasons[slot.reason] += 1
        self._extend(start, slot.reason, next(iter(slot.dubbed or slot.unchanged), None))
        for face in slot.faces:
            count = self._tracks.setdefault(face.track_id, _TrackCount(slot.shot, start, self.end))
            count.end, count.frames = self.end, count.frames + 1
            count.dubbed += face.track_id in slot.dubbed
            count.width_sum += face.width_px

    def _extend(self, start: float, reason: str, track: int | None) -> None:
        last = self.spans[-1] if self.spans else None
        if last is not None and (last.reason, last.track) == (reason, track):
            self.spans[-1] = SpanEntry(last.start_s, self.end, reason, track)
        elif len(self.spans) < MAX_SPANS:
            self.spans.append(SpanEntry(start, self.end, reason, track))
        else:
            self.spans_dropped += 1

    @property
    def frames(self) -> int:
        """Frames counted."""
        return sum(self.reasons.values())

    @property
    def dubbed(self) -> int:
        """Frames in which a mouth was replaced."""
        return self.reasons[DUBBED]

    @property
    def unchanged(self) -> int:
        """Frames with a face to dub that was left as it was."""
        return self.reasons[UNCHANGED]

    def passed_through(self) -> dict[str, int]:
        """Frames left alone, by reason."""
        return {reason: count for reason, count in sorted(self.reasons.items()) if reason != DUBBED}

    def tracks(self) -> tuple[TrackEntry, ...]:
        """One entry per face and shot, in order of appearance."""
        return tuple(
            TrackEntry(
                track=number,
                shot=count.shot,
                start_s=count.start,
                end_s=count.end,
                frames=count.frames,
                dubbed=count.dubbed,
                width_px=round(count.width_sum / count.frames, 1),
            )
            for number, count in self._tracks.items()
        )
