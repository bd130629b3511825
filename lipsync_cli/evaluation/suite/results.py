"""The result of an evaluation: one JSON document, its means, and its table in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_cli import __version__
from lipsync_cli.core.errors import InputError
from lipsync_cli.evaluation.bootstrap import PairedDifference, paired_bootstrap
from lipsync_cli.evaluation.metrics import METRICS, format_value
from lipsync_cli.evaluation.suite.protocols import ItemResult

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Row:
    """Means of one protocol: ``values`` by metric, over ``clips`` scored ones; ``failed`` could not be."""

    protocol: str
    clips: int
    failed: int
    values: dict[str, float]


def document(
    results: Sequence[ItemResult], settings: dict[str, Any], extra: dict[str, dict[str, float]] | None = None
) -> dict[str, Any]:
    """Everything, as JSON can hold it; ``extra`` are metrics of whole protocols, such as FID."""
    rows = summarise(results, extra)
    return {
        "schema": SCHEMA,
        "tool": f"lipsync {__version__}",
        "settings": settings,
        "summary": [asdict(row) for row in rows],
        "clips": [asdict(result) for result in results],
    }


def summarise(results: Iterable[ItemResult], extra: dict[str, dict[str, float]] | None = None) -> list[Row]:
    """One row per protocol in the order they came; the mean of the AV offset is that of its size."""
    by_protocol: dict[str, list[ItemResult]] = {}
    for result in results:
        by_protocol.setdefault(result.protocol, []).append(result)
    rows = []
    for protocol, group in by_protocol.items():
        scored = [result.score["metrics"] for result in group if result.score is not None]
        values = {name: _mean(name, scored) for name in METRICS}
        known = {name: value for name, value in values.items() if value is not None}
        known |= (extra or {}).get(protocol, {})
        rows.append(Row(protocol, len(scored), len(group) - len(scored), known))
    return rows


def _mean(name: str, scored: list[dict[str, float | None]]) -> float | None:
    values = [value for metrics in scored if (value := metrics.get(name)) is not None]
    if not values:
        return None
    # Offsets of either sign must not cancel.
    return float(np.mean(np.abs(values) if METRICS[name].better == "zero" and name != "leak" else values))


def markdown(rows: Sequence[Row]) -> str:
    """The summary as a Markdown table: a line per metric, a column per protocol."""
    names = [name for name in METRICS if any(name in row.values for row in rows)]
    head = ["metric", *(f"{row.protocol} ({row.clips})" for row in rows)]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in names:
        lines.append(_line([_heading(name), *(format_value(name, row.values.get(name)) for row in rows)]))
    return "\n".join(lines) + "\n"


def _heading(name: str) -> str:
    metric = METRICS[name]
    arrow = {"higher": " ↑", "lower": " ↓", "zero": " → 0", "one": " → 1", "": ""}[metric.better]
    size = "|" if metric.better == "zero" and name != "leak" else ""
    return f"{size}{metric.title}{size}{arrow}".replace("|", "\\|")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def read_document(path: Path) -> dict[str, Any]:
    """A result that was written earlier; InputError when it is none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.", hint="Expected a result of lipsync eval."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON.", hint="Expected a result of lipsync eval --json.") from error
    if not isinstance(told, dict) or told.get("schema") != SCHEMA or "clips" not in told:
        raise InputError(
            f"{path} is no result of a protocol.", hint="Write one with lipsync eval --manifest … --json > FILE."
        )
    return told


@dataclass(frozen=True, slots=True)
class Compared:
    """A metric of one protocol in two results, over the clips both have scored."""

    protocol: str
    metric: str
    difference: PairedDifference

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` when the interval leaves out 0, else ``unclear``."""
        if not self.difference.clear:
            return "unclear"
        risen = self.difference.difference > 0
        return "better" if risen == (METRICS[self.metric].better == "higher") else "worse"


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[Compared]:
    """Paired differences b − a for every metric that both have; InputError when they share no clip.

    Metrics that should be 0 or 1 are compared by their distance from it, so that less is better.
    """
    first, second = _by_clip(a), _by_clip(b)
    shared = [key for key in first if key in second]
    if not shared:
        raise InputError("The two results share no clip of the same protocol.", hint="Evaluate both on one manifest.")
    out = []
    for protocol in dict.fromkeys(protocol for protocol, _ in shared):
        for name in METRICS:
            pairs = [
                (_distance(name, first[key][name]), _distance(name, second[key][name]))
                for key in shared
                if key[0] == protocol and _has(first[key], name) and _has(second[key], name)
            ]
            if pairs:
                before, after = zip(*pairs, strict=True)
                out.append(Compared(protocol, name, paired_bootstrap(before, after)))
    return out


def _by_clip(told: dict[str, Any]) -> dict[tuple[str, str], dict[str, float | None]]:
    return {
        (clip["protocol"], clip["name"]): clip["score"]["metrics"]
        for clip in told["clips"]
        if clip["score"] is not None
    }


def _has(metrics: dict[str, float | None], name: str) -> bool:
    return metrics.get(name) is not None


def _distance(name: str, value: float | None) -> float:
    assert value is not None
    better = METRICS[name].better
    return abs(value - 1) if better == "one" else abs(value) if better == "zero" else value
