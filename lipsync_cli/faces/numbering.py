"""The numbers by which ``--face N`` asks for persons and ``inspect`` shows them."""

from __future__ import annotations

from lipsync_cli.core.types import Face, TrackedFrame
from lipsync_cli.faces.identity import Identities


class Numbering:
    """Counts persons from 0 in order of appearance; those who appear together, from left to right.

    ``persons`` are the persons of ``Identities`` met so far; the place in it is the number.
    """

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self.persons: list[int] = []

    def meet(self, item: TrackedFrame) -> list[tuple[Face, int]]:
        """The frame's faces with their numbers, from left to right, without those that have no embedding (yet)."""
        found = []
        for face in sorted(item.faces, key=centre_x):
            person = self._identities.person(face.track_id)
            if person is None:
                continue
            if person not in self.persons:
                self.persons.append(person)
            found.append((face, self.persons.index(person)))
        return found


def centre_x(face: Face) -> float:
    """Horizontal middle of a face's box, in display pixels."""
    return (face.box[0] + face.box[2]) / 2
