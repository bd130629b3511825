"""Log-mel spectrogram of 16 kHz speech, computed on fixed hops so that a stream and a file give the same rows."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import MEL_RATE, SPEECH_RATE

HOP = SPEECH_RATE // MEL_RATE
WINDOW = 400
N_FFT = 512
N_MELS = 80
LOWEST_HZ, HIGHEST_HZ = 55.0, 7600.0
LOG_FLOOR = 1e-5
# Centre and spread of log-mel values of speech, so that rows come out near [−1, 1]; constants rather than
# per-clip statistics, because a stream does not know its future loudness.
LOG_MEAN, LOG_SPREAD = -5.0, 4.0

Rows = npt.NDArray[np.float32]


@functools.cache
def _filters() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mel bank ``[80 257]`` and window ``[400]``."""
    return mel_bank(N_FFT), hann(WINDOW)


def hann(length: int) -> npt.NDArray[np.float32]:
    """Periodic Hann window."""
    return np.asarray(np.hanning(length + 1)[:-1], np.float32)


@functools.cache
def mel_bank(n_fft: int) -> npt.NDArray[np.float32]:
    """Slaney-style mel bank ``[80 n_fft/2 + 1]`` for 16 kHz, librosa's to the last bit.

    Worked out here because every dub needs it, and would wait half a second for librosa.
    """
    edges = band_edges()
    slopes = np.subtract.outer(edges, np.fft.rfftfreq(n_fft, 1 / SPEECH_RATE))
    widths = np.diff(edges)[:, None]
    triangles = np.maximum(0, np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:])).astype(np.float32)
    # Every band gets the same area, so that noise of even energy gives even rows.
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None], np.float32)


@functools.cache
def band_edges() -> npt.NDArray[np.float64]:
    """Frequencies ``[82]`` in Hz at which the bands begin, peak and end, evenly spread in mels.

    The scale of Slaney's Auditory Toolbox (1998): linear to 1 kHz, 27 steps for a factor of 6.4 above it.
    """
    linear, knee, step = 200.0 / 3, 1000.0, np.log(6.4) / 27.0
    highest = knee / linear + np.log(HIGHEST_HZ / knee) / step
    mels = np.linspace(LOWEST_HZ / linear, highest, N_MELS + 2)
    return np.where(mels < knee / linear, linear * mels, knee * np.exp(step * (mels - knee / linear)))


def log_mel(samples: npt.NDArray[np.float32]) -> Rows:
    """Rows ``[n 80]`` from mono samples ``[(n − 1)·160 + 400]`` at 16 kHz in [−1, 1]; no padding is added.

    Row i covers samples i·160 … i·160 + 399. The caller decides what lies before the start and after the end.
    librosa's Slaney-style mel bank, natural logarithm, shifted and scaled to about [−1, 1].
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
