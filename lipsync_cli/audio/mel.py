"""Log-mel spectrogram of 16 kHz speech, computed on fixed hops so that a stream and a file give the same rows."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from lipsync_cli.types import MEL_RATE

SAMPLE_RATE = 16_000
HOP = SAMPLE_RATE // MEL_RATE
WINDOW = 400
N_FFT = 512
N_MELS = 80
LOG_FLOOR = 1e-5
# Centre and spread of log-mel values of speech, so that rows come out near [−1, 1]; constants rather than
# per-clip statistics, because a stream does not know its future loudness.
LOG_MEAN, LOG_SPREAD = -5.0, 4.0

Rows = npt.NDArray[np.float32]


@functools.cache
def _filters() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    import librosa

    bank = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS, fmin=55.0, fmax=7600.0)
    window = librosa.filters.get_window("hann", WINDOW).astype(np.float32)
    return bank.astype(np.float32), window


def log_mel(samples: npt.NDArray[np.float32]) -> Rows:
    """Rows ``[n 80]`` from mono samples ``[(n − 1)·160 + 400]`` at 16 kHz in [−1, 1]; no padding is added.

    Row i covers samples i·160 … i·160 + 399. The caller decides what lies before the start and after the end.
    Slaney-style mel bank of librosa, natural logarithm, shifted and scaled to about [−1, 1].
    """
    if samples.ndim != 1:
        raise ValueError(f"log_mel takes mono samples [n], got shape {samples.shape}")
    count = (len(samples) - WINDOW) // HOP + 1
    if count <= 0:
        return np.zeros((0, N_MELS), np.float32)
    bank, window = _filters()
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float32), WINDOW)[::HOP][:count]
    power = np.abs(np.fft.rfft(frames * window, N_FFT)) ** 2
    mel = np.log(np.maximum(power.astype(np.float32) @ bank.T, LOG_FLOOR))
    return np.asarray((mel - LOG_MEAN) / LOG_SPREAD, np.float32)
