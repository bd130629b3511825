"""The list of folders in docs/architecture.md is that of the package."""

from __future__ import annotations

import re

from tests.helpers.documentation import DOCS
from tests.helpers.paths import ROOT

PACKAGE = ROOT / "lipsync_cli"


def test_architecture_lists_the_folders_of_two_levels():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `lipsync_cli/([\w/]+)/` \|", text, re.M)
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")} - {"."}
    # Commands are listed by the command line's own reference.
    expected = {folder for folder in folders if folder.count("/") < 2 and not folder.startswith("cli/")}
    assert sorted(listed) == sorted(expected)
