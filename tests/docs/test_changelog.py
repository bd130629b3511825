"""The changelog begins with the version that is installed."""

from __future__ import annotations

import re

from lipsync_cli import __version__
from tests.helpers.paths import ROOT

GROUPS = ("Added", "Changed", "Fixed")


def test_newest_version_is_this_one_and_grouped_by_what_it_does_to_users():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.split(r"^## ", text, flags=re.M)[1]
    assert re.match(rf"{re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)\n", newest)
    assert tuple(re.findall(r"^### (.+)$", newest, re.M)) == GROUPS
