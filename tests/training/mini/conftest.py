"""Prepared clips and a synthesiser for the stages of lip-forcing-mini."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.training.mini.espeak import Espeak
from tests.helpers.prepared_folder import write_prepared


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of two speakers and one held-out, of 32 frames each."""
    clips = [("train", "a"), ("train", "a"), ("train", "b"), ("val", "c"), ("train", "b")]
    return write_prepared(tmp_path_factory.mktemp("mini") / "prepared", clips, frames=32)


@pytest.fixture(scope="session")
def espeak() -> Espeak:
    """One a process: the library keeps its state in globals."""
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader, of the train extra")
    return Espeak()
