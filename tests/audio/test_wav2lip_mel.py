"""Wav2Lip's mel: librosa's, in the same places, whatever part of the sound is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.audio.wav2lip_mel import column_samples, first_column, wav2lip_mel


def speech(seconds: float = 1.0) -> np.ndarray:
    """Noise whose loudness and colour change, quiet stretches among it."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, round(16_000 * seconds)).astype(np.float32)
    loudness = np.clip(np.sin(np.linspace(0, 20, len(noise))), 0, 1) ** 2
    return (np.convolve(noise, [1, 0.9, 0.4], "same") * loudness).astype(np.float32)


def columns(samples: np.ndarray, first: int, count: int) -> np.ndarray:
    """As a caller with silence beyond both ends asks."""
    start, stop = column_samples(first, count)
    return wav2lip_mel(np.pad(samples, 2000)[start + 2000 : stop + 2000])


def test_it_is_librosas() -> None:
    librosa = pytest.importorskip("librosa")
    samples = speech()
    emphasised = librosa.effects.preemphasis(samples, coef=0.97, zi=[0.0])
    spectrum = np.abs(librosa.stft(emphasised, n_fft=800, hop_length=200, win_length=800, pad_mode="constant"))
    mel = librosa.filters.mel(sr=16_000, n_fft=800, n_mels=80, fmin=55, fmax=7600) @ spectrum
    expected = np.clip(8 * (20 * np.log10(np.maximum(1e-5, mel)) - 20 + 100) / 100 - 4, -4, 4)
    # Its last columns hear the sound end before pre-emphasis, ours after.
    np.testing.assert_allclose(columns(samples, 0, 78), expected[:, :78], atol=1e-3)
    assert expected.min() == -4 and expected.max() > 0


def test_a_tone_is_where_and_as_loud_as_it_should_be() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    mel = columns(tone, 20, 10)
    band = int(mel.mean(1).argmax())
    # Ten times weaker is 20 dB less, a fifth of 8.
    np.testing.assert_allclose(mel[band] - columns(tone / 10, 20, 10)[band], 1.6, atol=1e-3)
    assert (columns(0 * tone, 0, 5) == -4).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(-3, 60), st.integers(1, 30), st.integers(0, 20))
def test_a_part_is_the_same_as_within_the_whole(first: int, count: int, skipped: int) -> None:
    samples = speech()
    whole = columns(samples, first, count + skipped)
    np.testing.assert_allclose(columns(samples, first + skipped, count), whole[:, skipped:], atol=2e-4)


def test_columns_of_frames() -> None:
    assert [first_column(frame) for frame in (0, 1, 2, 5, 24, 25)] == [0, 3, 6, 16, 76, 80]
    assert wav2lip_mel(np.zeros(800, np.float32)).shape == (80, 0)
    with pytest.raises(ValueError, match="mono"):
        wav2lip_mel(np.zeros((2, 900), np.float32))
