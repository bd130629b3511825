"""Prepared clips with room for windows of StableSyncNet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.prepared_folder import write_prepared


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips to train on and one held-out, of 36 frames each."""
    clips = [("train", "a"), ("train", "b"), ("val", "c")]
    return write_prepared(tmp_path_factory.mktemp("stable") / "prepared", clips, frames=36, size=64)
