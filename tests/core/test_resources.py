"""Models and presets are found in a wheel and in a source tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.core import resources
from lipsync_cli.core.resources import resource_folder


def test_resource_folder_of_the_source_tree_holds_what_comes_with_the_package() -> None:
    assert list(resource_folder("presets").rglob("balanced.toml"))
    assert list(resource_folder("models").glob("*/model.toml"))


def test_resource_folder_of_an_installed_package_is_inside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "site" / "lipsync_cli"
    (package / "_data" / "models").mkdir(parents=True)
    monkeypatch.setattr(resources, "PACKAGE", package)
    assert resource_folder("models") == package / "_data" / "models"
    assert resource_folder("presets") == tmp_path / "site" / "presets"
