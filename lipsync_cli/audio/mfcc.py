"""Mel-frequency cepstra as ``python_speech_features.mfcc`` computes them by default, which SyncNet was trained on."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.fft import dct

from lipsync_cli.core.types import SPEECH_RATE, Float64

WINDOW, HOP, N_FFT = 400, 160, 512
FILTERS, CEPSTRA, LIFTER, PRE_EMPHASIS = 26, 13, 22, 0.97


def mfcc(samples: npt.NDArray[np.int16]) -> Float64:
    """Rows ``[n 13]``, 100 a second, of mono int16 samples at 16 kHz; the last window is padded with zeros.

    Rectangular windows of 25 ms, 26 triangular filters over bins rounded down, natural logarithm, orthonormal DCT-II,
    sine lifter; the first cepstrum is replaced by the logarithm of the window's energy.
    """
    signal = samples.astype(np.float64)
    emphasised = np.append(signal[:1], signal[1:] - PRE_EMPHASIS * signal[:-1])
    count = 1 + max(0, -(-(len(emphasised) - WINDOW) // HOP))
    padded = np.pad(emphasised, (0, max(0, (count - 1) * HOP + WINDOW - len(emphasised))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]
    power = np.abs(np.fft.rfft(windows, N_FFT)) ** 2 / N_FFT
    tiny = np.finfo(np.float64).eps
    energy, bands = power.sum(1), power @ _filters().T
    logs = np.log(np.where(bands == 0, tiny, bands))
    cepstra = np.asarray(dct(logs, type=2, axis=1, norm="ortho"))[:, :CEPSTRA]
    cepstra = cepstra * (1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER))
    cepstra[:, 0] = np.log(np.where(energy == 0, tiny, energy))
    return np.asarray(cepstra)


@cache
def _filters() -> Float64:
    """Triangles ``[26 257]`` between points evenly spaced on the mel scale 2595·log₁₀(1 + f/700)."""
    top = 2595 * np.log10(1 + SPEECH_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, FILTERS + 2) / 2595) - 1)
    bins = np.floor((N_FFT + 1) * hertz / SPEECH_RATE)
    at = np.arange(N_FFT // 2 + 1)
    low, middle, high = bins[:-2, None], bins[1:-1, None], bins[2:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = (at - low) / (middle - low), (high - at) / (high - middle)
    out = np.where((at >= low) & (at < middle), rising, np.where((at >= middle) & (at < high), falling, 0.0))
    return np.asarray(out)
