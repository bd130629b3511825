"""Plots of an evaluation as inline SVG. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from lipsync_cli.core.errors import EnvironmentProblem

_COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed")


def aperture_plot(times: Sequence[float], result: Sequence[float | None], truth: Sequence[float | None]) -> str:
    """Lip opening over time, the true one behind it where there is one."""
    figure, axes = _figure(7.2, 1.7)
    if truth:
        axes.plot(times, _gaps(truth), color="#94a3b8", linewidth=2.5, label="truth")
    axes.plot(times, _gaps(result), color=_COLOURS[0], linewidth=1.2, label="clip")
    axes.set_xlabel("seconds")
    axes.set_ylabel("opening")
    axes.legend(loc="upper right", frameon=False, ncols=2)
    return _svg(figure)


def curve_plot(curve: Sequence[float | None]) -> str:
    """Mean distance between picture and sound over AV offsets."""
    figure, axes = _figure(3.2, 1.7)
    reach = len(curve) // 2
    axes.plot(range(reach, -reach - 1, -1), _gaps(curve), color=_COLOURS[0], linewidth=1.2)
    axes.axvline(0, color="#94a3b8", linewidth=0.8)
    axes.set_xlabel("AV offset, frames")
    axes.set_ylabel("distance")
    return _svg(figure)


def histogram(title: str, values: Mapping[str, Sequence[float]]) -> str:
    """Histograms of one metric, a colour per protocol, on one axis."""
    figure, axes = _figure(3.4, 2.1)
    present = {name: list(series) for name, series in values.items() if series}
    axes.hist(
        list(present.values()), bins=12, label=list(present), color=list(_COLOURS[: len(present)]), histtype="bar"
    )
    axes.set_title(title, fontsize=9)
    if len(present) > 1:
        axes.legend(frameon=False, fontsize=7)
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EnvironmentProblem(
            "The HTML report draws with matplotlib, which is not installed.",
            hint="Run: pip install 'lipsync-cli[report]', or leave out --html.",
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(labelsize=7)
    axes.xaxis.label.set_fontsize(7)
    axes.yaxis.label.set_fontsize(7)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _svg(figure: Any) -> str:
    """The figure as an ``<svg>`` element without prolog, date or random ids."""
    text = io.StringIO()
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "lipsync", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
