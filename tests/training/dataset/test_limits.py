"""Thresholds of the filters, from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.core.errors import UsageError
from lipsync_cli.training.dataset.limits import Limits, load_limits


def test_load_limits_names_what_is_wrong_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text("yaw = 0.2\n")
    assert load_limits(path) == Limits(yaw=0.2)
    path.write_text("yawn = 0.2\n")
    with pytest.raises(UsageError, match="yawn"):
        load_limits(path)
    path.write_text("lag = 20\n")
    with pytest.raises(UsageError, match=r"lag \(.*\) cannot be 20"):
        load_limits(path)
