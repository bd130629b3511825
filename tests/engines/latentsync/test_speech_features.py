"""Hearing of a segment: windows within their own seconds, what lies beyond the ends, the releases' borders."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from lipsync_cli.engines.latentsync.nn.speech import frame_tokens, log_mel, normalised
from lipsync_cli.engines.latentsync.speech_features import LOUDEST_AT_LEAST, SpeechLoudness, SpeechTokens
from lipsync_cli.engines.protocol import WaveSpan
from tests.helpers.narrow_latentsync import CONFIG, make_networks

WAVE = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)


@pytest.fixture(scope="module")
def encoder():
    return make_networks().speech


def test_a_window_hears_so_much_before_and_after_it_and_no_more(encoder):
    tokens_of, loudness = SpeechTokens(encoder, CONFIG), SpeechLoudness.at(Fraction(1))
    low, high = 16_000 + 640 * (20 - 8), 16_000 + 640 * (24 + 3)
    tokens = tokens_of.tokens(loudness, WaveSpan(WAVE, 0), 20, 4)
    mel = log_mel(torch.from_numpy(WAVE[low:high]))
    expected = frame_tokens(encoder(normalised(mel, max(LOUDEST_AT_LEAST, float(mel.max())))), torch.arange(8, 12))
    torch.testing.assert_close(tokens, expected)
    again = tokens_of.tokens(SpeechLoudness.at(Fraction(1)), WaveSpan(WAVE[low:high], low), 20, 4)
    assert torch.equal(tokens, again)


def test_nothing_is_heard_before_the_track_and_silence_after_it(encoder):
    tokens_of = SpeechTokens(encoder, CONFIG)
    first = tokens_of.tokens(SpeechLoudness.at(Fraction(0)), WaveSpan(WAVE, 0), 0, 4)
    mel = log_mel(torch.from_numpy(WAVE[: 640 * 7]))
    activations = encoder(normalised(mel, max(LOUDEST_AT_LEAST, float(mel.max()))))
    torch.testing.assert_close(first, frame_tokens(activations, torch.arange(4)))
    silent = np.concatenate([WAVE[:8000], np.zeros(64_000, np.float32)])
    ended, padded = (
        tokens_of.tokens(SpeechLoudness.at(Fraction(0)), WaveSpan(samples, 0), 16, 4)
        for samples in (WAVE[:8000], silent)
    )
    assert torch.equal(ended, padded)


def test_a_pause_is_as_quiet_as_what_was_loud_before_it(encoder):
    """The loudest moment loudness so far sets the level, not that of the window alone."""
    quiet = np.concatenate([WAVE[:16_000] * 30, WAVE[16_000:] * 1e-4])
    tokens_of, loudness = SpeechTokens(encoder, CONFIG), SpeechLoudness.at(Fraction(0))
    levels = []
    for first in range(0, 48, 4):
        tokens_of.tokens(loudness, WaveSpan(quiet, 0), first, 4)
        levels.append(loudness.loudest)
    assert levels == sorted(levels) and levels[-1] > LOUDEST_AT_LEAST + 1
    fresh = SpeechLoudness.at(Fraction(0))
    assert not torch.equal(
        tokens_of.tokens(loudness, WaveSpan(quiet, 0), 48, 4), tokens_of.tokens(fresh, WaveSpan(quiet, 0), 48, 4)
    )


def test_as_the_releases_hear_it_the_track_falls_into_full_windows(encoder):
    """Here of 40 positions, 0.8 s; the last is filled up with zeros, and indices stop at the ends."""
    tokens_of, loudness, span = (
        SpeechTokens(encoder, CONFIG, whole=True),
        SpeechLoudness.at(Fraction(1, 5)),
        WaveSpan(WAVE[:25_600], 0),
    )
    mel = log_mel(torch.from_numpy(WAVE[:25_600]))
    level = normalised(mel, float(mel.max()))
    activations = torch.cat([encoder(level[:, :80]), encoder(level[:, 80:])])
    assert len(tokens_of.whole_track(loudness, span)) == len(activations) == 80
    torch.testing.assert_close(
        tokens_of.tokens(loudness, span, 17, 20),
        frame_tokens(activations, torch.arange(22, 42)),
        atol=1e-5,
        rtol=1e-5,
    )
