"""Packages of the documentation's examples as if they were installed, without an installer."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lipsync_cli.engines import registry
from lipsync_cli.hub import cards
from tests.helpers.paths import ROOT

EXAMPLES = ROOT / "docs" / "examples"
FORGET: list[Callable[[], None]] = [registry._brought_along.cache_clear, cards._brought_along.cache_clear]
"""What remembers the installed packages."""


@contextmanager
def installed(example: str, site: Path) -> Iterator[Path]:
    """``docs/examples/<example>`` with its entry points on ``sys.path``; ``site`` gets its metadata.

    Yields the folders for ``PYTHONPATH`` of another process, separated as it wants them.
    """
    folder = EXAMPLES / example
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    before = list(sys.path)
    sys.path[:0] = [str(site), str(folder)]
    for forget in FORGET:
        forget()
    try:
        yield folder
    finally:
        sys.path[:] = before
        for forget in FORGET:
            forget()
