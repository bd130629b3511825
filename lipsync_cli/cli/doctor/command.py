"""``lipsync doctor``: one row for each thing a dub needs."""

from __future__ import annotations

from dataclasses import asdict

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines
from lipsync_cli.cli.doctor import checks
from lipsync_cli.cli.doctor.smoke_test import codecs, ffmpeg, rehearsal
from lipsync_cli.core.errors import EXIT_ENVIRONMENT

SCHEMA = 1
CHECKS: dict[str, checks.Check] = {
    "python": checks.python,
    "packages": checks.packages,
    "device": checks.device,
    "bfloat16": checks.arithmetic,
    "ffmpeg": ffmpeg,
    "codecs": codecs,
    "dlib": checks.landmarks,
    "models": checks.models,
    "settings": checks.settings,
    "temporary folder": checks.temporary_folder,
    "cache folder": checks.cache_folder,
    "dub": rehearsal,
}
COLORS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}

app = typer.Typer(add_completion=False)


@app.command()
def doctor(as_json: o.Json = False) -> None:
    """Check that everything a dub needs is there and works.

    The last check dubs a two-second synthetic clip. The exit code is 6 if a check fails.
    """
    rows = []
    for row in checks.guarded_rows(CHECKS):
        rows.append(row)
        if not as_json:
            _show(row)
    failed = [row.name for row in rows if row.status == "fail"]
    if as_json:
        emit_json({"schema": SCHEMA, "ok": not failed, "checks": [asdict(row) for row in rows]})
    if failed:
        raise typer.Exit(EXIT_ENVIRONMENT)


def _show(row: checks.CheckRow) -> None:
    typer.echo(f"{typer.style(f'{row.status:4}', fg=COLORS[row.status])}  {row.name:16}  {row.detail}")
    if row.fix:
        emit_lines([f"{'':24}{row.fix}"])
