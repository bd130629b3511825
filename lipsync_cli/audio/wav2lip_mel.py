"""The mel spectrogram of Wav2Lip (Prajwal et al. 2020), which StableSyncNet hears: 80 columns a second, ± 4.

16 kHz, pre-emphasis 0.97, frames of 800 samples every 200, magnitudes in 80 Slaney bands from 55 to 7600 Hz, 20·log10
less 20 dB, −100 … 0 dB to −4 … 4. Column c is centred on sample 200·c, so that its frame begins 400 samples before.
"""

from __future__ import annotations

import numpy as np

from lipsync_cli.audio.mel import N_MELS, hann, mel_bank
from lipsync_cli.core.types import Float32

COLUMNS_PER_SECOND = 80
FRAME_RATE = 25
HOP, FRAME = 200, 800
_PRE_EMPHASIS = 0.97
_REFERENCE_DB, _LOWEST_DB = 20.0, -100.0
_REACH = 4.0
_FLOOR = 1e-5


def first_column(frame: int) -> int:
    """The column at which the sound of the video frame with that number begins; 3.2 a frame, rounded down."""
    return frame * COLUMNS_PER_SECOND // FRAME_RATE


def column_samples(first: int, count: int) -> tuple[int, int]:
    """Samples start … stop − 1 that ``wav2lip_mel`` needs for columns first … first + count − 1."""
    start = first * HOP - FRAME // 2
    return start - 1, start + (count - 1) * HOP + FRAME


def wav2lip_mel(samples: Float32) -> Float32:
    """Mel ``[80 n]`` in [−4, 4] of mono samples ``[1 + (n − 1)·200 + 800]`` at 16 kHz in [−1, 1].

    The first sample only says what the second is emphasised against. Nothing is padded: the caller decides what lies
    beyond the ends. Raises ValueError for anything but mono.
    """
    if samples.ndim != 1:
        raise ValueError(f"wav2lip_mel takes mono samples [n], got shape {samples.shape}")
    count = (len(samples) - 1 - FRAME) // HOP + 1
    if count <= 0:
        return np.zeros((N_MELS, 0), np.float32)
    emphasised = samples[1:].astype(np.float32) - np.float32(_PRE_EMPHASIS) * samples[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, FRAME)[::HOP][:count]
    magnitude = np.abs(np.fft.rfft(frames * hann(FRAME), FRAME)).astype(np.float32)
    decibels = 20 * np.log10(np.maximum(mel_bank(FRAME) @ magnitude.T, _FLOOR)) - _REFERENCE_DB
    return np.asarray(np.clip(2 * _REACH * (decibels / -_LOWEST_DB + 1) - _REACH, -_REACH, _REACH), np.float32)
