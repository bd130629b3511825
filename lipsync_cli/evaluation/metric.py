"""What a metric is: its name, its meaning, which way is better, how it is shown, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from lipsync_cli.core.types import Float32
from lipsync_cli.evaluation.needs import Inputs, Need

Better = Literal["higher", "lower", "zero", "one", ""]
Section = Literal["sync", "lips", "original", "picture", "identity", "other"]
SECTIONS: tuple[Section, ...] = get_args(Section)
ARROWS: dict[Better, str] = {"higher": "↑", "lower": "↓", "zero": "→ 0", "one": "→ 1", "": ""}
OVER_CLIPS = "over all clips only; see the summary of a protocol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure of a clip, as a text, a table and a report show it.

    ``title`` heads a column, ``meaning`` says in a line what is measured; ``digits`` are shown behind the point, and
    ``better`` is empty where it depends. ``section`` is where tables have it, and ``shown`` how far the HTML report
    brings it out: in the table only, with every clip, or in a histogram, too.

    A ``signed`` metric whose aim is 0 says something by its sign: its mean keeps it. That of others is the mean of
    their size, so that offsets of either sign do not cancel.

    Without what it ``needs`` it is not measured; the first that is missing is the reason given. A metric that can
    only be taken over many clips has ``pool``, which makes the figure from the features of all clips, by part, rows
    ``[n d]``; None where they are too few.
    """

    name: str
    title: str
    meaning: str
    better: Better = ""
    digits: int = 3
    section: Section = "other"
    needs: tuple[Need, ...] = ()
    signed: bool = False
    shown: Literal["table", "clips", "plots"] = "plots"
    pool: Callable[[Mapping[str, Float32]], float | None] | None = None

    def why_missing(self, inputs: Inputs) -> str:
        """Why it cannot be measured with ``inputs``, in words; empty when it can."""
        return next((reason for need in self.needs if (reason := need.why_missing(inputs))), "")

    def distance(self, value: float) -> float:
        """What is compared between two results: ``value``, or how far it is from 0 or 1 where that is the aim."""
        return abs(value - 1) if self.better == "one" else abs(value) if self.better == "zero" else value

    @property
    def of_size(self) -> bool:
        """Whether means are taken of the value's size."""
        return self.better == "zero" and not self.signed

    def format(self, value: float | None) -> str:
        """A value for people; – where there is none."""
        if value is None:
            return "–"
        if value in (float("inf"), float("-inf")):
            return "∞" if value > 0 else "−∞"
        return f"{value:.{self.digits}f}".replace("-", "−")
