"""What a segment hears: the window, the normalisation so far, and the whole track as the release takes it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.engines.lip_forcing.speech_features import SpeechFeatures, SpeechMoments
from lipsync_cli.engines.protocol import WaveSpan
from tests.helpers.narrow_lip_forcing import CONFIG, make_networks

RNG = np.random.default_rng(3)
WAVE = (0.02 + 0.1 * RNG.normal(size=16_000 * 2)).astype(np.float32)


@pytest.fixture(scope="module")
def encoder():
    return make_networks().speech


def normalised(samples: np.ndarray) -> torch.Tensor:
    """Zero mean and unit variance over the recording, as wav2vec 2.0's own feature extractor does it."""
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    return torch.from_numpy(extractor(samples, sampling_rate=16_000)["input_values"][0]).float()


@torch.no_grad()
def test_the_whole_track_is_normalised_padded_and_encoded_at_once(encoder):
    track = WAVE[:20_000]  # 31.25 frames
    features = SpeechFeatures(encoder, CONFIG, whole=True).features(
        SpeechMoments.at(Fraction(0)), WaveSpan(track, 0), 0, 40
    )
    padded = torch.zeros(40 * 640)
    padded[: len(track)] = normalised(track)
    torch.testing.assert_close(features, encoder(padded), atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_window_over_everything_hears_what_the_whole_track_says(encoder):
    wide = CONFIG.model_copy(update={"speech_lookahead": 41})
    moments, wave = SpeechMoments.at(Fraction(0)), WaveSpan(WAVE, 0)
    window = SpeechFeatures(encoder, wide).features(moments, wave, 0, 9)
    whole = SpeechFeatures(encoder, wide, whole=True).features(SpeechMoments.at(Fraction(0)), wave, 0, 9)
    torch.testing.assert_close(window, whole, atol=1e-4, rtol=0)


@torch.no_grad()
def test_frames_are_counted_from_the_segments_start(encoder):
    """A segment that begins in the middle of the track hears, at its first frame, what sounds there."""
    start = Fraction(21, 25) + Fraction(100, 16_000)
    moments, wave = SpeechMoments.at(start), WaveSpan(WAVE, 0)
    features = SpeechFeatures(encoder, CONFIG).features(moments, wave, 0, 9)
    origin = 21 * 640 + 100
    part = WAVE[origin - 6 * 640 : origin + (9 + 3) * 640]
    torch.testing.assert_close(features, encoder(normalised(part))[6:15], atol=1e-4, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 4000), min_size=1, max_size=6), st.integers(0, 3000))
def test_the_normalisation_so_far_is_that_of_all_samples_so_far(sizes, overlap):
    moments, at = SpeechMoments(0), 0
    for size in sizes:
        begin = max(0, at - overlap)
        moments.add(WAVE[begin : at + size], begin)
        at += size
    assert moments.count == at
    if at > 1:
        expected = (WAVE[:at] - WAVE[:at].mean()) / np.sqrt(WAVE[:at].var() + 1e-7)
        np.testing.assert_allclose(moments.normalise(WAVE[:at]), expected, atol=2e-3)


def test_silence_stays_silence():
    moments = SpeechMoments(0)
    moments.add(np.zeros(1000, np.float32), 0)
    assert not moments.normalise(np.zeros(1000, np.float32)).any()


@torch.no_grad()
def test_beyond_the_tracks_end_there_is_silence(encoder):
    moments, wave = SpeechMoments.at(Fraction(0)), WaveSpan(WAVE[:6400], 0)
    features = SpeechFeatures(encoder, CONFIG).features(moments, wave, 0, 21)
    padded = torch.zeros(24 * 640)
    padded[:6400] = normalised(WAVE[:6400])
    torch.testing.assert_close(features, encoder(padded)[:21], atol=1e-4, rtol=0)
    later = SpeechFeatures(encoder, CONFIG).features(moments, WaveSpan(np.zeros(0, np.float32), 40_000), 60, 12)
    assert later.isfinite().all()
