"""An evaluation as one self-contained HTML page: table, histograms, and every clip with strip and curves."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from lipsync_cli.core.errors import OutputError
from lipsync_cli.evaluation.metric import ARROWS
from lipsync_cli.evaluation.registry import metrics
from lipsync_cli.evaluation.suite.plan import ItemResult
from lipsync_cli.evaluation.suite.plots import aperture_plot, curve_plot, histogram
from lipsync_cli.evaluation.suite.results import SummaryRow

_STYLE = """
:root { color-scheme: light; font: 15px/1.45 system-ui, sans-serif; color: #0f172a; }
body { max-width: 1500px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; } h2 { margin-top: 2.5rem; font-size: 1.2rem; } h3 { margin: 0 0 .3rem; font-size: 1rem; }
table { border-collapse: collapse; }
th, td { padding: .25rem .9rem; text-align: right; border-bottom: 1px solid #e2e8f0; }
th:first-child, td:first-child { text-align: left; } td:last-child.meaning { text-align: left; color: #64748b; }
.plots { display: flex; flex-wrap: wrap; gap: .5rem; }
article { border: 1px solid #e2e8f0; border-radius: 8px; padding: 1rem; margin: 1rem 0; }
article img { max-width: 100%; display: block; } .figures { color: #475569; font-size: .85rem; }
.error { color: #b91c1c; } svg { max-width: 100%; height: auto; }
"""


def write_html(
    path: Path, title: str, rows: Sequence[SummaryRow], results: Sequence[ItemResult], folder: Path
) -> None:
    """Write the page; strips are read from ``folder`` and built in. Raises OutputError where it cannot be written."""
    parts = [f"<h1>{escape(title)}</h1>", _table(rows), "<h2>Distributions</h2>", _histograms(results)]
    for row in rows:
        parts.append(f"<h2>{escape(row.protocol)}: {row.clips} clips</h2>")
        parts += [_article(result, folder) for result in results if result.protocol == row.protocol]
    page = (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The report {path} cannot be written: {error.strerror}.") from error


def _table(rows: Sequence[SummaryRow]) -> str:
    head = "".join(f"<th>{escape(row.protocol)} ({row.clips})</th>" for row in rows)
    body = []
    for name, metric in metrics().items():
        if any(name in row.values for row in rows):
            cells = "".join(f"<td>{metric.format(row.values.get(name))}</td>" for row in rows)
            meaning = f"<td class=meaning>{escape(metric.meaning)}</td>"
            body.append(f"<tr><td>{escape(metric.title)} {ARROWS[metric.better]}</td>{cells}{meaning}</tr>")
    return f"<table><tr><th>mean over clips</th>{head}<th></th></tr>{''.join(body)}</table>"


def _histograms(results: Sequence[ItemResult]) -> str:
    drawn = []
    for name, metric in metrics().items():
        if metric.shown != "plots":
            continue
        values: dict[str, list[float]] = {}
        for result in results:
            value = (result.score or {}).get("metrics", {}).get(name)
            if value is not None:
                values.setdefault(result.protocol, []).append(value)
        if values:
            drawn.append(histogram(metric.title, values))
    return f"<div class=plots>{''.join(drawn)}</div>"


def _article(result: ItemResult, folder: Path) -> str:
    sound = "" if result.sound == result.video else f" with the sound of {escape(Path(result.sound).name)}"
    head = f"<h3>{escape(result.name)}{sound}</h3>"
    if result.score is None:
        return f"<article>{head}<p class=error>{escape(result.error)}</p></article>"
    return f"<article>{head}{_figures(result.score)}{_strip(result, folder)}{_curves(result.score)}</article>"


def _figures(score: dict[str, Any]) -> str:
    shown = [
        f"{escape(metric.title)} {metric.format(score['metrics'][name])}"
        for name, metric in metrics().items()
        if metric.shown != "table" and score["metrics"].get(name) is not None
    ]
    return f"<p class=figures>{score['scored_frames']} of {score['frames']} frames scored · {' · '.join(shown)}</p>"


def _strip(result: ItemResult, folder: Path) -> str:
    path = folder / result.protocol / result.strip
    if not result.strip or not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    alt = "Lower face before (first row) and after (second), both mouths enlarged below"
    return f"<img alt='{alt}' src='data:image/jpeg;base64,{data}'>"


def _curves(score: dict[str, Any]) -> str:
    drawn = []
    if score["times"]:
        drawn.append(aperture_plot(score["times"], score["apertures"], score["true_apertures"]))
    if score["sync_curve"]:
        drawn.append(curve_plot(score["sync_curve"]))
    return f"<div class=plots>{''.join(drawn)}</div>"
