"""Mel rows and silence of a stream: independent of how it arrives, exact at the edges, parity with librosa."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.audio import mel
from lipsync_cli.audio.mel import HOP, LOG_MEAN, LOG_SPREAD, N_FFT, WINDOW, log_mel
from lipsync_cli.audio.speech_track import KEEP_SECONDS, SpeechTrack
from lipsync_cli.core.types import SPEECH_RATE, AudioSpan


def spans(samples: np.ndarray, sizes: list[int]):
    """``samples`` as spans of the given sizes, the last one repeated."""
    first, index = 0, 0
    while first < len(samples):
        size = sizes[min(index, len(sizes) - 1)]
        yield AudioSpan(samples[None, first : first + size], SPEECH_RATE, first)
        first, index = first + size, index + 1


def tone_and_pause() -> np.ndarray:
    """One second of tone, one of silence, one of tone."""
    t = np.arange(SPEECH_RATE) / SPEECH_RATE
    tone = 0.3 * np.sin(2 * np.pi * 220 * t)
    return np.concatenate([tone, np.zeros(SPEECH_RATE), tone]).astype(np.float32)


def test_log_mel_equals_librosa():
    librosa = pytest.importorskip("librosa")
    samples = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    spectrum = librosa.stft(samples, n_fft=N_FFT, hop_length=HOP, win_length=WINDOW, center=False)
    # librosa centres the 400-sample window in the 512-sample frame, so its frame i is our row at +56 samples.
    bank = librosa.filters.mel(sr=SPEECH_RATE, n_fft=N_FFT, n_mels=80, fmin=55.0, fmax=7600.0)
    expected = (np.log(np.maximum(bank @ np.abs(spectrum) ** 2, 1e-5)) - LOG_MEAN) / LOG_SPREAD
    ours = log_mel(samples[(N_FFT - WINDOW) // 2 :])
    count = min(len(ours), expected.shape[1])
    np.testing.assert_allclose(ours[:count], expected.T[:count], atol=2e-3)


def test_bank_and_window_are_librosas_to_the_last_bit():
    librosa = pytest.importorskip("librosa")
    bank, window = mel._filters()
    expected = librosa.filters.mel(sr=SPEECH_RATE, n_fft=N_FFT, n_mels=80, fmin=55.0, fmax=7600.0)
    np.testing.assert_array_equal(bank, expected)
    np.testing.assert_array_equal(window, librosa.filters.get_window("hann", WINDOW).astype(np.float32))


def test_the_first_row_imports_no_library_of_filters():
    code = """if True:
        import sys, numpy
        from lipsync_cli.audio.mel import log_mel
        log_mel(numpy.zeros(400, "float32"))
        sys.exit(not {"scipy", "librosa"}.isdisjoint(sys.modules))"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6), st.integers(-30, 280), st.integers(1, 60))
def test_rows_do_not_depend_on_how_samples_arrive(sizes, first, count):
    samples = np.random.default_rng(1).normal(0, 0.1, 40_000).astype(np.float32)
    whole = SpeechTrack(spans(samples, [40_000])).rows(first, count)
    pieces = SpeechTrack(spans(samples, sizes)).rows(first, count)
    assert np.array_equal(whole, pieces)
    assert whole.shape == (count, 80)


def test_overlapping_requests_agree_and_the_outside_is_silent():
    track = SpeechTrack(spans(tone_and_pause(), [1600]))
    early = track.rows(-10, 40)
    again = track.rows(10, 40)
    np.testing.assert_allclose(early[20:40], again[:20], atol=1e-5)  # BLAS rounds by a row's place in its matrix
    floor = (np.log(1e-5) - LOG_MEAN) / LOG_SPREAD
    assert np.allclose(early[:8], floor)
    assert np.allclose(track.rows(400, 10), floor)


def test_silence_is_found_with_soft_edges():
    track = SpeechTrack(spans(tone_and_pause(), [777]))
    values = [track.silence(t / 100) for t in range(0, 300)]
    assert max(values[:80]) == 0 and max(values[225:]) == 0
    assert min(values[125:175]) == 1
    edge = values[100:130]
    assert all(b >= a for a, b in itertools.pairwise(edge))
    assert max(b - a for a, b in itertools.pairwise(edge)) < 0.2


def test_a_short_gap_between_words_is_not_silence():
    samples = tone_and_pause()
    samples[16000 : 16000 + 3200] = samples[:3200]
    gap = np.concatenate([samples[:16000], np.zeros(3200, np.float32), samples[:16000]])
    track = SpeechTrack(spans(gap, [1000]))
    assert max(track.silence(t / 100) for t in range(220)) < 0.5


def test_memory_is_bounded_and_the_distant_past_is_refused():
    def endless():
        first = 0
        while True:
            yield AudioSpan(np.zeros((1, 16000), np.float32), SPEECH_RATE, first)
            first += 16000

    track = SpeechTrack(endless())
    for second in range(0, 3 * KEEP_SECONDS, 2):
        track.rows(second * 100, 50)
        track.silence(second)
    assert len(track._samples) <= (KEEP_SECONDS + 3) * SPEECH_RATE
    assert len(track._loudness) <= KEEP_SECONDS * 100
    with pytest.raises(ValueError, match="let go"):
        track.rows(0, 10)


def test_samples_are_those_that_exist():
    samples = tone_and_pause()
    track = SpeechTrack(spans(samples, [1600]))
    first, part = track.samples(-500, 1000)
    assert first == 0
    assert np.array_equal(part, samples[:1000])
    first, part = track.samples(len(samples) - 300, len(samples) + 900)
    assert (first, len(part)) == (len(samples) - 300, 300)
    assert track.samples(len(samples) + 10, len(samples) + 90)[1].size == 0


def test_the_whole_track_is_there_only_for_those_who_asked():
    samples = np.tile(tone_and_pause(), 40)
    track = SpeechTrack(spans(samples, [16_000]), keep_all=True)
    track.rows(6000, 10)
    assert np.array_equal(track.all_samples(), samples)
    with pytest.raises(ValueError, match="let go"):
        SpeechTrack(spans(samples, [16_000])).all_samples()
