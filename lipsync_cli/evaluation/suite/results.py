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
from lipsync_cli.evaluation.metric import ARROWS, Metric
from lipsync_cli.evaluation.registry import metrics
from lipsync_cli.evaluation.suite.plan import ItemResult

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class SummaryRow:
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


def summarise(results: Iterable[ItemResult], extra: dict[str, dict[str, float]] | None = None) -> list[SummaryRow]:
    """One row per protocol in the order they came."""
    by_protocol: dict[str, list[ItemResult]] = {}
    for result in results:
        by_protocol.setdefault(result.protocol, []).append(result)
    rows = []
    for protocol, group in by_protocol.items():
        scored = [result.score["metrics"] for result in group if result.score is not None]
        means = {name: _mean(metric, scored) for name, metric in metrics().items()}
        values = {name: value for name, value in means.items() if value is not None}
        rows.append(
            SummaryRow(protocol, len(scored), len(group) - len(scored), values | (extra or {}).get(protocol, {}))
        )
    return rows


def _mean(metric: Metric, scored: list[dict[str, float | None]]) -> float | None:
    values = [value for clip in scored if (value := clip.get(metric.name)) is not None]
    if not values:
        return None
    return float(np.mean(np.abs(values) if metric.of_size else values))


def markdown(rows: Sequence[SummaryRow]) -> str:
    """The summary as a Markdown table: a line per metric, a column per protocol."""
    listed = [metric for name, metric in metrics().items() if any(name in row.values for row in rows)]
    head = ["metric", *(f"{row.protocol} ({row.clips})" for row in rows)]
    lines = [_line(head), _line(["---"] * len(head))]
    for metric in listed:
        lines.append(_line([_heading(metric), *(metric.format(row.values.get(metric.name)) for row in rows)]))
    return "\n".join(lines) + "\n"


def _heading(metric: Metric) -> str:
    size = "|" if metric.of_size else ""
    return f"{size}{metric.title}{size} {ARROWS[metric.better]}".rstrip().replace("|", "\\|")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def read_document(path: Path) -> dict[str, Any]:
    """A result that was written earlier; InputError when it is none."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.", hint="Expected a result of lipsync eval."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON.", hint="Expected a result of lipsync eval --json.") from error
    if not isinstance(result, dict) or result.get("schema") != SCHEMA or "clips" not in result:
        raise InputError(
            f"{path} is no result of a protocol.", hint="Write one with lipsync eval --manifest … --json > FILE."
        )
    return result


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """A metric of one protocol in two results, over the clips both have scored."""

    protocol: str
    metric: str
    difference: PairedDifference

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` when the interval leaves out 0 and there is a better, else ``unclear``."""
        aim = metrics()[self.metric].better
        if not self.difference.clear or not aim:
            return "unclear"
        return "better" if (self.difference.difference > 0) == (aim == "higher") else "worse"


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[MetricComparison]:
    """Paired differences b − a for every metric that both have; InputError when they share no clip.

    Metrics that should be 0 or 1 are compared by their distance from it, so that less is better.
    """
    first, second = _by_clip(a), _by_clip(b)
    shared = [key for key in first if key in second]
    if not shared:
        raise InputError("The two results share no clip of the same protocol.", hint="Evaluate both on one manifest.")
    out = []
    for protocol in dict.fromkeys(protocol for protocol, _ in shared):
        for name, metric in metrics().items():
            values = [(first[key].get(name), second[key].get(name)) for key in shared if key[0] == protocol]
            pairs = [(metric.distance(x), metric.distance(y)) for x, y in values if x is not None and y is not None]
            if pairs:
                before, after = zip(*pairs, strict=True)
                out.append(MetricComparison(protocol, name, paired_bootstrap(before, after)))
    return out


def _by_clip(result: dict[str, Any]) -> dict[tuple[str, str], dict[str, float | None]]:
    return {
        (clip["protocol"], clip["name"]): clip["score"]["metrics"]
        for clip in result["clips"]
        if clip["score"] is not None
    }
