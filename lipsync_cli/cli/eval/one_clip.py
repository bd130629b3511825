"""``lipsync eval CLIP``: the score of one clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lipsync_cli.cli.console import emit_json, emit_table
from lipsync_cli.cli.eval.arguments import ClipArguments, NetworkArguments, OutputArguments
from lipsync_cli.cli.paths import check_input, write_text
from lipsync_cli.cli.progress import progress

if TYPE_CHECKING:
    from lipsync_cli.evaluation.clip import ClipScore

SCHEMA = 1


def score_one(
    clip: Path, arguments: ClipArguments, networks: NetworkArguments, output: OutputArguments, *, face: str | None
) -> None:
    """Score ``clip`` and show every metric, or why it was not measured."""
    for path in (clip, arguments.against, arguments.source):
        if path is not None:
            check_input(path, "a video")
    for path in (arguments.original, arguments.audio):
        if path is not None:
            check_input(path, "a file with sound")
    loaded = networks.load()
    from lipsync_cli.evaluation.clip import score_clip
    from lipsync_cli.evaluation.comparison import Comparison

    comparison = Comparison(
        truth=arguments.against,
        source=arguments.source or arguments.against,
        sound=arguments.audio,
        original=arguments.original,
        face=face or "largest",
        trim=arguments.trim,
    )
    with progress(output.progress, None, doing="Scoring") as on_frame:
        score = score_clip(clip, comparison, loaded, on_frame)
    _show(score, output)


def _show(score: ClipScore, output: OutputArguments) -> None:
    rows = _rows(score)
    if output.markdown is not None:
        lines = ["| metric | value | |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
        write_text(output.markdown, "\n".join(lines) + "\n")
    if output.as_json:
        emit_json({"schema": SCHEMA, **score.to_json()})
    else:
        emit_table(("metric", "value", "meaning"), rows)


def _rows(score: ClipScore) -> list[tuple[str, str, str]]:
    """Title, value and meaning of every metric; the reason instead of the meaning where there is no value."""
    from lipsync_cli.evaluation.registry import metrics

    return [
        (
            metric.title,
            metric.format(score.metrics[name]),
            f"not measured: {score.not_measured[name]}" if name in score.not_measured else metric.meaning,
        )
        for name, metric in metrics().items()
    ]
