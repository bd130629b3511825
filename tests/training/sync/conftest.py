"""Prepared clips and an untrained expert."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipsync_cli.nn.sync.sync_mini import SyncMini
from tests.helpers.prepared_folder import write_prepared
from tests.helpers.small_stages import SMALL_SYNC


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips to train on and one held-out, of 26 frames each."""
    clips = [("train", "a"), ("train", "a"), ("train", "b"), ("val", "c")]
    return write_prepared(tmp_path_factory.mktemp("sync") / "prepared", clips, frames=26)


@pytest.fixture(scope="module")
def expert() -> SyncMini:
    """Small, with seeded weights."""
    torch.manual_seed(0)
    return SyncMini(SMALL_SYNC).eval()
