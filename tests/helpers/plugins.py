"""Packages of the documentation's examples as if they were installed, without an installer."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lipsync_cli.engines import registry
from lipsync_cli.evaluation import registry as metric_registry
from lipsync_cli.hub import cards
from tests.helpers.paths import ROOT

EXAMPLES = ROOT / "docs" / "examples"
FORGET: list[Callable[[], None]] = [
    registry._brought_along.cache_clear,
    cards._brought_along.cache_clear,
    metric_registry.measures.cache_clear,
    metric_registry.metrics.cache_clear,
]
"""What remembers the installed packages."""


@contextmanager
def installed(example: str, site: Path) -> Iterator[Path]:
    """``docs/examples/<example>`` with its entry points on ``sys.path``; ``site`` gets its metadata.

    Yields the folders for ``PYTHONPATH`` of another process, separated as it wants them.
    """
    folder = EXAMPLES / example
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    write_metadata(site, project["name"], project["version"], project["entry-points"])
    with on_path(site, folder):
        yield folder


def write_metadata(site: Path, name: str, version: str, entries: Mapping[str, Mapping[str, str]]) -> None:
    """What an installer leaves in the folder ``site`` beside a package's modules; ``entries`` are by group."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in entries.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@contextmanager
def on_path(*folders: Path) -> Iterator[None]:
    """Packages are looked for in ``folders``, too, by whatever remembers them."""
    before = list(sys.path)
    sys.path[:0] = map(str, folders)
    for forget in FORGET:
        forget()
    try:
        yield
    finally:
        sys.path[:] = before
        for forget in FORGET:
            forget()
