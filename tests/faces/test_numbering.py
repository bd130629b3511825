"""Persons are counted as they come, from left to right."""

from __future__ import annotations

from lipsync_cli.faces.numbering import Numbering, centre_x
from tests.helpers.faces import face, identities, tracked


def met(numbering: Numbering, index: int, *faces: object) -> list[tuple[int, int]]:
    return [(found.track_id, number) for found, number in numbering.meet(tracked(index, *faces))]


def test_numbering_counts_from_left_to_right() -> None:
    numbering = Numbering(identities({0: 1.0, 1: 3.0}))
    assert met(numbering, 0, face(0, 300), face(1, 100)) == [(1, 0), (0, 1)]


def test_numbering_keeps_numbers_over_shots_and_places() -> None:
    numbering = Numbering(identities({0: 1.0, 1: 3.0, 2: 5.0, 3: 1.1}))
    assert met(numbering, 0, face(0, 100)) == [(0, 0)]
    assert met(numbering, 1, face(1, 100), face(2, 200)) == [(1, 1), (2, 2)]
    assert met(numbering, 2, face(2, 50), face(3, 300)) == [(2, 2), (3, 0)]
    assert len(numbering.persons) == 3


def test_numbering_leaves_out_who_has_no_embedding_yet() -> None:
    known = identities({1: 3.0})
    numbering = Numbering(known)
    assert met(numbering, 0, face(0, 100), face(1, 200)) == [(1, 0)]


def test_centre_x_is_the_middle_of_the_box() -> None:
    assert centre_x(face(0, 123.0, 40)) == 123.0
