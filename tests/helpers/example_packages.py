"""The examples of the documentation as installed packages, without pip and without a network."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def install_example(name: str, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the package of ``docs/examples/name`` into the folder ``site``, as pip would, and that on ``sys.path``."""
    project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for module in (EXAMPLES / name).glob("*.py"):
        shutil.copy(module, site)
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text(_entry_points(project["entry-points"]), encoding="utf-8")
    monkeypatch.syspath_prepend(site)


def _entry_points(groups: dict[str, dict[str, str]]) -> str:
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    return "\n".join(lines) + "\n"
