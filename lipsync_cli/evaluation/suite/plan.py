"""What an evaluation of many clips is to do, item by item, and what becomes of an item."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipsync_cli.evaluation.suite.manifest import Clip, donors
from lipsync_cli.evaluation.suite.protocols import SuiteProtocol
from lipsync_cli.settings import DubSettings, OptionLayers


@dataclass(frozen=True, slots=True)
class SuiteItem:
    """One clip under one protocol, with the file whose sound it gets."""

    protocol: SuiteProtocol
    clip: Clip
    sound: Path


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """What to run and where results go. ``seconds`` uses only so much of each clip.

    ``options`` are those of the model's engine.
    """

    clips: list[Clip]
    protocols: tuple[SuiteProtocol, ...]
    folder: Path
    settings: DubSettings
    preset: str = ""
    seconds: Fraction | None = None
    options: OptionLayers = field(default_factory=OptionLayers)

    def items(self) -> list[SuiteItem]:
        """All items: dubs protocol by protocol, then controls clip by clip. InputError where a donor is missing."""
        others = donors(self.clips) if any(protocol.foreign for protocol in self.protocols) else self.clips
        pairs = list(zip(self.clips, others, strict=True))

        def item(protocol: SuiteProtocol, clip: Clip, other: Clip) -> SuiteItem:
            return SuiteItem(protocol, clip, other.video if protocol.foreign else clip.video)

        dubs = [protocol for protocol in self.protocols if protocol.dubs]
        controls = [protocol for protocol in self.protocols if not protocol.dubs]
        # Controls are about the same pictures, which then need to be read only once.
        return [item(p, *pair) for p in dubs for pair in pairs] + [item(p, *pair) for pair in pairs for p in controls]

    def path(self, item: SuiteItem, suffix: str) -> Path:
        """Where a file about ``item`` lies: ``FOLDER/PROTOCOL/CLIP.suffix``."""
        return self.folder / item.protocol.name / f"{item.clip.name}{suffix}"


@dataclass(frozen=True, slots=True)
class ItemResult:
    """``score`` is None when the clip failed, and ``error`` says why; ``dub`` is the report of the dub, if any.

    ``strip`` names a picture beside the result.
    """

    protocol: str
    name: str
    speaker: str
    video: str
    sound: str
    score: dict[str, Any] | None
    error: str = ""
    dub: dict[str, Any] = field(default_factory=dict)
    strip: str = ""

    @classmethod
    def of(cls, item: SuiteItem, score: dict[str, Any] | None, **more: Any) -> ItemResult:
        """The result of an item; ``more`` are the fields behind ``score``."""
        clip = item.clip
        return cls(item.protocol.name, clip.name, clip.speaker, str(clip.video), str(item.sound), score, **more)
