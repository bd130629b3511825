"""Policies that choose one track per frame, and stay with it from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from lipsync_cli.core.errors import NoFaceError
from lipsync_cli.core.types import Face, FaceState, Float64, TrackedFrame
from lipsync_cli.faces.identity import Identities
from lipsync_cli.faces.numbering import Numbering, centre_x

Rank = Literal["largest", "left", "right"]
# Another face takes over inside a shot only when it has been this much better, or the only one, for this long.
_TAKEOVER_S = 1.0
_LARGER, _FURTHER_OUT = 1.6, 0.5
# The person chosen before is chosen again in a new shot unless this much smaller than the largest.
_LOYALTY = 0.4
# A reference picture may be years and a camera apart from the video, so it is allowed a little more than 0.55.
_SAME_AS_REFERENCE = 0.6


class SelectionPolicy(Protocol):
    """Decides frame by frame; holds no frames."""

    def choose(self, item: TrackedFrame) -> int | None:
        """The chosen track's id, which need not be in the frame, or None while nobody is chosen."""
        ...

    def finish(self) -> None:
        """Called after the last frame; NoFaceError if the one asked for never came."""
        ...


class ByRank:
    """The largest, leftmost or rightmost face of a shot, without flipping between similar ones.

    Who was chosen when a shot began gives way to another face only after ``_TAKEOVER_S``.
    """

    def __init__(self, rank: Rank, identities: Identities) -> None:
        self._rank, self._identities = rank, identities
        self._shot = -1
        self._chosen: int | None = None
        self._last: int | None = None
        self._rival_since: float | None = None

    def choose(self, item: TrackedFrame) -> int | None:
        """See SelectionPolicy."""
        if item.shot != self._shot:
            self._shot, self._chosen, self._rival_since = item.shot, None, None
        present = [face for face in item.faces if face.state != FaceState.MISSING]
        if not present:
            return self._chosen
        if self._chosen is None:
            return self._switch_to(self._first_choice(present))
        current = next((face for face in item.faces if face.track_id == self._chosen), None)
        if current is None and (again := self._same_person(present)):
            return self._switch_to(again)
        best = self._best(present)
        if current is not None and not self._clearly_better(best, current):
            self._rival_since = None
            return self._chosen
        return self._challenge(best, float(item.frame.time))

    def finish(self) -> None:
        """See SelectionPolicy."""

    def _challenge(self, rival: Face, time: float) -> int | None:
        """Let ``rival`` take over once there has been one for long enough."""
        if self._rival_since is None:
            self._rival_since = time
        return self._switch_to(rival) if time - self._rival_since >= _TAKEOVER_S else self._chosen

    def _switch_to(self, face: Face) -> int:
        self._chosen = self._last = face.track_id
        self._rival_since = None
        return face.track_id

    def _first_choice(self, present: Sequence[Face]) -> Face:
        """The face to begin a shot with."""
        best = self._best(present)
        if self._rank != "largest" or len(present) == 1:
            return best
        return self._same_person([face for face in present if face.width_px >= _LOYALTY * best.width_px]) or best

    def _same_person(self, present: Sequence[Face]) -> Face | None:
        """The face that shows the person of the track chosen last, as far as both have embeddings."""
        person = self._identities.person(self._last) if self._last is not None else None
        if person is None:
            return None
        return next((face for face in present if self._identities.person(face.track_id) == person), None)

    def _best(self, present: Sequence[Face]) -> Face:
        if self._rank == "largest":
            return max(present, key=lambda face: (face.width_px, -face.track_id))
        return min(present, key=centre_x) if self._rank == "left" else max(present, key=centre_x)

    def _clearly_better(self, face: Face, current: Face) -> bool:
        if self._rank == "largest":
            return face.width_px > _LARGER * current.width_px
        further = centre_x(face) - centre_x(current)
        return (further if self._rank == "right" else -further) > _FURTHER_OUT * current.width_px


class ByNumber:
    """The person with a number; see Numbering."""

    def __init__(self, number: int, identities: Identities) -> None:
        self._number, self._numbering = number, Numbering(identities)

    def choose(self, item: TrackedFrame) -> int | None:
        """See SelectionPolicy."""
        numbered = [face.track_id for face, number in self._numbering.meet(item) if number == self._number]
        return numbered[-1] if numbered else None

    def finish(self) -> None:
        """See SelectionPolicy."""
        count = len(self._numbering.persons)
        if self._number >= count:
            found = {0: "no face was seen", 1: "only face 0 was seen"}.get(
                count, f"only faces 0 to {count - 1} were seen"
            )
            raise NoFaceError(
                f"Face {self._number} was asked for, but {found}.", hint="Look at them with: lipsync inspect"
            )


class ByReference:
    """The person in a picture, by ``embedding``; ``name`` is what the picture is called in messages."""

    def __init__(self, embedding: Float64, name: str, identities: Identities) -> None:
        self._embedding, self._name, self._identities = embedding, name, identities
        self._apart: dict[int, float] = {}
        self._closest = float("inf")

    def choose(self, item: TrackedFrame) -> int | None:
        """See SelectionPolicy."""
        apart = {face.track_id: self._distance(face.track_id) for face in item.faces}
        self._apart = {track_id: distance for track_id, distance in apart.items() if distance < float("inf")}
        if not self._apart:
            return None
        nearest = min(self._apart, key=lambda track_id: (self._apart[track_id], track_id))
        self._closest = min(self._closest, self._apart[nearest])
        return nearest if self._apart[nearest] < _SAME_AS_REFERENCE else None

    def finish(self) -> None:
        """See SelectionPolicy."""
        if self._closest >= _SAME_AS_REFERENCE:
            near = (
                ""
                if self._closest == float("inf")
                else f" (the nearest is {self._closest:.2f} away, 0.60 is the limit)"
            )
            raise NoFaceError(f"Nobody in the video looks like {self._name}{near}.", hint="Try --face largest.")

    def _distance(self, track_id: int) -> float:
        computed = self._apart.get(track_id)
        return self._identities.distance(track_id, self._embedding) if computed is None else computed
