"""A prepared folder, and a stretch of the sample's speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.media.audio import open_speech
from lipsync_cli.training.dataset.format import CLIP_MARGIN
from tests.helpers.paths import SAMPLES
from tests.helpers.prepared_folder import write_prepared
from tests.helpers.sounds import RATE


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip to train on and one held-out, of 21 frames each."""
    return write_prepared(tmp_path_factory.mktemp("dataset") / "prepared", [("train", "a"), ("val", "b")], frames=21)


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Two seconds of speech with the margins of a prepared clip, 16 kHz mono."""
    with open_speech(SAMPLES / "speech.wav") as spans:
        return np.concatenate([span.samples[0] for span in spans])[: 2 * RATE + 2 * CLIP_MARGIN]
