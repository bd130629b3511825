"""The Python of the documentation, run from top to bottom of each page."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.helpers.documentation import DOCS, blocks
from tests.helpers.paths import ROOT, SAMPLES


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "python.md"], ids=lambda page: page.name)
def test_python_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(SAMPLES, tmp_path / "samples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "documentation"}
    found = blocks(page, "python")
    for block in found:
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")  # errors name the page's own line
        with patch.dict(os.environ):
            exec(code, names)
    assert found and list(tmp_path.glob("*.mp4"))
