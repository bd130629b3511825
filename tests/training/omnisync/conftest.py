"""Prepared clips in which pseudo-pairs exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.omnisync_clips import FRAMES, speaking_heads
from tests.helpers.prepared_folder import write_prepared


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips to train on and one held-out."""
    clips = [("train", "a"), ("train", "a"), ("train", "b"), ("val", "c")]
    folder = tmp_path_factory.mktemp("omnisync") / "prepared"
    return write_prepared(folder, clips, frames=FRAMES, marks=speaking_heads)
