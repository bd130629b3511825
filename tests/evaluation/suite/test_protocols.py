"""The protocols there are."""

from __future__ import annotations

from fractions import Fraction

from lipsync_cli.evaluation.suite.protocols import DEFAULT_PROTOCOLS, PROTOCOLS


def test_protocols_that_dub_are_the_default_ones() -> None:
    assert [name for name, protocol in PROTOCOLS.items() if protocol.dubs] == list(DEFAULT_PROTOCOLS)
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


def test_protocols_that_are_controls_differ_in_the_sound_only() -> None:
    sounds = {name: (p.foreign, p.delay) for name, p in PROTOCOLS.items() if not p.dubs}
    assert sounds == {
        "original": (False, 0), "shifted": (False, Fraction(5, 25)), "foreign": (True, 0),
    }  # fmt: skip
