"""What one dub is to do, with nothing left to decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from lipsync_cli.core.errors import UsageError
from lipsync_cli.settings import DubSettings, OptionLayers


@dataclass(frozen=True, slots=True)
class DubRequest:
    """Inputs, output and settings of one dub.

    ``output`` None means stdout. ``container`` names what is written (None: by the output's name). ``provenance``
    says for each setting which layer decided it. ``start`` and ``end`` are seconds of both inputs; ``keep`` carries
    the video's other streams over; ``sheet`` asks for a contact sheet. ``tags`` are added to the output's metadata,
    ``options`` are those of engines.
    """

    video: Path
    audio: Path
    output: Path | None
    settings: DubSettings
    preset: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    overwrite: bool = False
    keep: bool = False
    container: str | None = None
    start: Fraction | None = None
    end: Fraction | None = None
    sheet: Path | None = None
    tags: dict[str, str] = field(default_factory=dict)
    options: OptionLayers = field(default_factory=OptionLayers)

    def __post_init__(self) -> None:
        if self.start is not None and self.start < 0:
            raise UsageError(f"--start {float(self.start):g} s lies before the video's beginning.")
        if self.end is not None and self.end <= (self.start or 0):
            raise UsageError(
                f"--end {float(self.end):g} s does not lie after --start {float(self.start or 0):g} s.",
                hint="Both count from the video's beginning.",
            )
