"""A package that looks installed to ``importlib.metadata``, without pip or the network."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path


def write_distribution(site: Path, name: str, version: str, entries: Mapping[str, Mapping[str, str]]) -> None:
    """Metadata in the folder ``site``, which belongs on ``sys.path``; ``entries`` are entry points by group."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, points in entries.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def install_folder(folder: Path, site: Path) -> None:
    """What ``pip install FOLDER`` leaves in ``site``: the modules, and the metadata of its pyproject.toml."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    write_distribution(site, project["name"], project["version"], project["entry-points"])
    for module in folder.glob("*.py"):
        shutil.copy(module, site)
