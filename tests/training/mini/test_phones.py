"""The stage that classifies phones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lipsync_cli.audio.mel import HOP, WINDOW
from lipsync_cli.core.types import SPEECH_RATE
from lipsync_cli.engines.mini.nn.flow_backbone import AudioWindowEncoder
from lipsync_cli.training.mini.espeak import Utterance
from lipsync_cli.training.mini.phones import PhonesRecipe, labelled_mel, phone_batch, train_phones

SMALL = PhonesRecipe(utterances=6, steps=6, batch=4, frames=6)


def test_labelled_mel_has_the_class_at_each_rows_centre():
    """A click train has one class a second, however it is stretched."""
    utterance = Utterance(np.random.default_rng(0).normal(0, 0.1, 3 * SPEECH_RATE).astype(np.float32),
                          (0.0, 1.0, 2.0), (3, 5, 7))  # fmt: skip
    rng = np.random.default_rng(4)
    stretch = int(np.random.default_rng(4).integers(80, 126)) / 100
    rows = labelled_mel(utterance, rng)
    assert len(rows.mel) == len(rows.classes) == int((3 * stretch * SPEECH_RATE - WINDOW) // HOP + 1)
    changes = (np.flatnonzero(np.diff(rows.classes)) + 1) * HOP / SPEECH_RATE + WINDOW / 2 / SPEECH_RATE
    np.testing.assert_allclose(changes, [stretch, 2 * stretch], atol=0.011)
    assert set(rows.classes) == {3, 5, 7}


def test_train_phones_resumes_to_the_bit_on_classes_in_place(espeak, tmp_path: Path):
    rng = np.random.default_rng(0)
    spoken = [labelled_mel(espeak.utterance(rng), rng) for _ in range(SMALL.utterances)]
    windows, classes = phone_batch(spoken, SMALL, 3)
    assert windows.shape == (4, 6, 32, 80) and classes.shape == (4, 6, 5)
    # Offsets of ±4 rows are the neighbouring windows' own phones.
    torch.testing.assert_close(classes[:, 1:, 1], classes[:, :-1, 2])

    def train(folder: Path, **more) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        return train_phones(AudioWindowEncoder(16), spoken, SMALL, folder, **more).state_dict()

    whole = train(tmp_path / "whole")
    train(tmp_path / "parts", deadline=0.0)
    for key, value in train(tmp_path / "parts").items():
        torch.testing.assert_close(value, whole[key], rtol=0, atol=0)
