"""``lipsync eval --compare``: which of two results is better."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli.cli.console import emit_json, emit_table
from lipsync_cli.cli.eval.arguments import OutputArguments
from lipsync_cli.cli.paths import write_text

if TYPE_CHECKING:
    from lipsync_cli.evaluation.suite.results import MetricComparison

SCHEMA = 1
HEAD = ("protocol", "metric", "n", "A", "B", "B − A", "95 % interval", "verdict")


def compare_results(paths: tuple[Path, Path], output: OutputArguments) -> None:
    """Compare two results clip by clip."""
    from lipsync_cli.evaluation.suite.results import compare, read_document

    a, b = (read_document(path) for path in paths)
    comparisons = compare(a, b)
    rows = [_row(comparison) for comparison in comparisons]
    if output.markdown is not None:
        lines = [HEAD, ("---",) * len(HEAD), *rows]
        write_text(output.markdown, "".join(f"| {' | '.join(line)} |\n" for line in lines))
    if output.as_json:
        names = {"a": str(paths[0]), "b": str(paths[1])}
        emit_json({"schema": SCHEMA, **names, "metrics": [_entry(comparison) for comparison in comparisons]})
    else:
        emit_table(HEAD, rows)


def _entry(comparison: MetricComparison) -> dict[str, Any]:
    head = {"protocol": comparison.protocol, "metric": comparison.metric, "verdict": comparison.verdict}
    return head | asdict(comparison.difference)


def _row(comparison: MetricComparison) -> tuple[str, ...]:
    from lipsync_cli.evaluation.registry import metrics

    metric, difference = metrics()[comparison.metric], comparison.difference
    values = (difference.a, difference.b, difference.difference, difference.low, difference.high)
    a, b, apart, low, high = (metric.format(value) for value in values)
    return comparison.protocol, metric.title, str(difference.n), a, b, apart, f"{low} … {high}", comparison.verdict
