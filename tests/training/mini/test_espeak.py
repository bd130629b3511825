"""Synthetic speech with known phone times."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.core.types import SPEECH_RATE
from lipsync_cli.training.mini.espeak import CLASSES, LANGUAGES, Espeak, nonsense, phone_class


@pytest.mark.parametrize(
    ("ipa", "name"),
    [
        ("p", "bilabial"), ("m", "bilabial"), ("v", "labiodental"), ("θ", "dental"), ("tʃ", "postalveolar"),
        ("ts", "sibilant"), ("iː", "i"), ("ˈæ", "ae"), ("oʊ", "o"), ("ɡ", "back"), ("_:", "silence"), ("", "silence"),
        ("|", "unknown"),
    ],
)  # fmt: skip
def test_phone_class_is_that_of_the_articulation(ipa, name):
    assert CLASSES[phone_class(ipa)] == name


def test_espeak_phones_come_in_order_and_lie_where_they_sound(espeak):
    said = espeak.say("Mama. Sasa.", "en-us", rate=120, pitch=50, pitch_range=50)
    assert list(said.starts) == sorted(said.starts)
    assert said.starts[0] >= 0 and said.starts[-1] < len(said.samples) / SPEECH_RATE
    named = [CLASSES[index] for index in said.classes]
    assert named.count("bilabial") == 2 and named.count("sibilant") == 2
    # A hiss lives above 4 kHz and a hum below it: the times say which samples are which.
    ratio = {}
    for name in ("bilabial", "sibilant"):
        start = said.starts[named.index(name)]
        part = said.samples[int(start * SPEECH_RATE) : int((start + 0.07) * SPEECH_RATE)]
        power = np.abs(np.fft.rfft(part)) ** 2
        ratio[name] = power[np.fft.rfftfreq(len(part), 1 / SPEECH_RATE) > 4000].sum() / power.sum()
    assert ratio["sibilant"] > 0.3 > 0.05 > ratio["bilabial"]


def test_espeak_has_every_voice_that_may_be_drawn(espeak):
    assert len(espeak.voices) > 50
    for language in LANGUAGES:
        assert len(espeak.say("Bamo.", f"{language}+{espeak.voices[0]}", rate=200, pitch=50, pitch_range=50).samples)
    with pytest.raises(ValueError, match="no voice"):
        espeak.say("Bamo.", "xx", rate=200, pitch=50, pitch_range=50)


def test_espeak_utterances_are_a_function_of_the_seed(espeak):
    """In voice, words and times; the synthesiser itself rounds a sample more or less."""
    one, two, other = (espeak.utterance(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert abs(len(one.samples) - len(two.samples)) < 80
    np.testing.assert_allclose(one.starts, two.starts, atol=0.005)
    assert one.classes == two.classes != other.classes
    assert nonsense(np.random.default_rng(1)) != nonsense(np.random.default_rng(2))


def test_espeak_that_is_missing_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(EnvironmentProblem, match="eSpeak NG"):
        Espeak()
