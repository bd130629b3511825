"""Synthetic speech with known phone times, and the stage that listens to it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.audio.mel import HOP, SAMPLE_RATE, WINDOW
from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.engines.mini.nn.flow_backbone import AudioWindowEncoder
from lipsync_cli.training.mini.espeak import CLASSES, LANGUAGES, Espeak, Utterance, nonsense, phone_class
from lipsync_cli.training.dataset.audio_augment import warp_throat
from lipsync_cli.training.mini.phones import PhonesRecipe, phone_batch, spoken_rows, train_phones

SMALL = PhonesRecipe(utterances=6, steps=6, batch=4, frames=6)


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


@pytest.mark.parametrize(
    ("ipa", "name"),
    [
        ("p", "bilabial"), ("m", "bilabial"), ("v", "labiodental"), ("θ", "dental"), ("tʃ", "postalveolar"),
        ("ts", "sibilant"), ("iː", "i"), ("ˈæ", "ae"), ("oʊ", "o"), ("ɡ", "back"), ("_:", "silence"), ("", "silence"),
        ("|", "unknown"),
    ],
)  # fmt: skip
def test_phones_have_the_class_of_what_lips_do(ipa, name):
    assert CLASSES[phone_class(ipa)] == name


def test_phones_come_in_order_and_lie_where_they_sound(espeak):
    said = espeak.say("Mama. Sasa.", "en-us", rate=120, pitch=50, pitch_range=50)
    assert list(said.starts) == sorted(said.starts)
    assert said.starts[0] >= 0 and said.starts[-1] < len(said.samples) / SAMPLE_RATE
    named = [CLASSES[index] for index in said.classes]
    assert named.count("bilabial") == 2 and named.count("sibilant") == 2
    # A hiss lives above 4 kHz and a hum below it: the times say which samples are which.
    ratio = {}
    for name in ("bilabial", "sibilant"):
        start = said.starts[named.index(name)]
        part = said.samples[int(start * SAMPLE_RATE) : int((start + 0.07) * SAMPLE_RATE)]
        power = np.abs(np.fft.rfft(part)) ** 2
        ratio[name] = power[np.fft.rfftfreq(len(part), 1 / SAMPLE_RATE) > 4000].sum() / power.sum()
    assert ratio["sibilant"] > 0.3 > 0.05 > ratio["bilabial"]


def test_every_voice_that_may_be_drawn_exists(espeak):
    assert len(espeak.voices) > 50
    for language in LANGUAGES:
        assert len(espeak.say("Bamo.", f"{language}+{espeak.voices[0]}", rate=200, pitch=50, pitch_range=50).samples)
    with pytest.raises(ValueError, match="no voice"):
        espeak.say("Bamo.", "xx", rate=200, pitch=50, pitch_range=50)


def test_utterances_are_a_function_of_the_seed(espeak):
    """In voice, words and times; the synthesiser itself rounds a sample more or less."""
    one, two, other = (espeak.utterance(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert abs(len(one.samples) - len(two.samples)) < 80
    np.testing.assert_allclose(one.starts, two.starts, atol=0.005)
    assert one.classes == two.classes != other.classes
    assert nonsense(np.random.default_rng(1)) != nonsense(np.random.default_rng(2))


def test_without_espeak_the_stage_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(EnvironmentProblem, match="eSpeak NG"):
        Espeak()


def test_rows_carry_the_class_that_sounds_at_their_centre():
    """A click train has one class a second, however it is stretched."""
    utterance = Utterance(np.random.default_rng(0).normal(0, 0.1, 3 * SAMPLE_RATE).astype(np.float32),
                          (0.0, 1.0, 2.0), (3, 5, 7))  # fmt: skip
    rng = np.random.default_rng(4)
    stretch = int(np.random.default_rng(4).integers(80, 126)) / 100
    rows = spoken_rows(utterance, rng)
    assert len(rows.mel) == len(rows.classes) == int((3 * stretch * SAMPLE_RATE - WINDOW) // HOP + 1)
    changes = (np.flatnonzero(np.diff(rows.classes)) + 1) * HOP / SAMPLE_RATE + WINDOW / 2 / SAMPLE_RATE
    np.testing.assert_allclose(changes, [stretch, 2 * stretch], atol=0.011)
    assert set(rows.classes) == {3, 5, 7}


def test_a_longer_throat_lowers_resonances():
    rows = np.zeros((3, 80), np.float32)
    rows[:, 40] = 1
    np.testing.assert_array_equal(warp_throat(rows, 1.0), rows)
    assert np.argmax(warp_throat(rows, 1.14)[0]) > 40 > np.argmax(warp_throat(rows, 0.88)[0])


def test_the_stage_learns_resumes_to_the_bit_and_keeps_the_classes_in_place(espeak, tmp_path: Path):
    rng = np.random.default_rng(0)
    spoken = [spoken_rows(espeak.utterance(rng), rng) for _ in range(SMALL.utterances)]
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
