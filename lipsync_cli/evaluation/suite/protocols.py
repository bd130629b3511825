"""Which protocols there are. Two dub every clip the way ``lipsync dub`` does and score the dub; three are controls.

``self`` gives a clip its own sound, ``cross`` that of another one. Controls dub nothing and say what the figures are
worth: ``original`` scores the clips as they are, ``shifted`` with the sound five frames late, and ``foreign`` with
the sound of another clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

SHIFT = Fraction(5, 25)


@dataclass(frozen=True, slots=True)
class SuiteProtocol:
    """``dubs`` tells it from a control; the sound may be ``foreign``, or ``delay`` seconds late."""

    name: str
    dubs: bool = False
    foreign: bool = False
    delay: Fraction = Fraction(0)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        SuiteProtocol("self", dubs=True),
        SuiteProtocol("cross", dubs=True, foreign=True),
        SuiteProtocol("original"),
        SuiteProtocol("shifted", delay=SHIFT),
        SuiteProtocol("foreign", foreign=True),
    )
}
"""By name, in the order in which they are listed."""
DEFAULT_PROTOCOLS = ("self", "cross")
