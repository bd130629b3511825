"""Audio effects for augmentation: functions on 16 kHz mono samples.

Each takes and gives float32 ``[n]`` of the same length (``time_stretch`` excepted), keeps speech where it was to
within a millisecond, and draws everything random from the generator it is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.types import SPEECH_RATE as RATE
from lipsync_cli.core.types import Float32, Float64

_FFT, _HOP = 512, 128
_MU = 255.0


def level(samples: Float32) -> float:
    """Root mean square, never 0."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def mix(samples: Float32, other: Float32, snr_db: float) -> Float32:
    """``samples`` with ``other`` so loud that the ratio of their levels is ``snr_db``."""
    gain = level(samples) / level(other) * 10 ** (-snr_db / 20)
    return np.asarray(samples + gain * other, np.float32)


def coloured_noise(count: int, slope: float, rng: np.random.Generator) -> Float32:
    """Noise whose power falls with frequency to the ``slope``: 0 is white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hertz = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20.0)
    noise = np.fft.irfft(spectrum * hertz ** (-slope / 2), count)
    return np.asarray(noise / level(noise.astype(np.float32)), np.float32)


def babble(count: int, voices: Sequence[Float32], rng: np.random.Generator) -> Float32:
    """Several people at once: ``voices`` from random places on, equally loud, repeated where they end."""
    total = np.zeros(count, np.float32)
    for voice in voices:
        start = int(rng.integers(len(voice)))
        total += np.resize(np.roll(voice, -start), count) / level(voice)
    return np.asarray(total / level(total), np.float32)


def tones(count: int, rng: np.random.Generator) -> Float32:
    """Something like music: chords of harmonic tones that are struck at a steady beat and die away."""
    total = np.zeros(count, np.float32)
    beat = round(RATE * rng.uniform(0.2, 0.6))
    root = rng.uniform(80, 250)
    for start in range(-int(rng.integers(beat)), count, beat):
        # Notes of a major pentatonic scale over two octaves.
        steps = rng.choice([0, 2, 4, 7, 9, 12, 14, 16, 19, 21], 3, replace=False)
        first, stop = max(start, 0), min(start + 3 * beat, count)
        time = (np.arange(first - start, stop - start) / RATE).astype(np.float32)
        for step in steps:
            hertz = root * 2 ** (step / 12)
            harmonics = np.arange(1, 1 + min(5, int(RATE / 2 / hertz)), dtype=np.float32)[:, None]
            phases = rng.uniform(0, 2 * np.pi, harmonics.shape).astype(np.float32)
            waves = np.sin(np.float32(2 * np.pi * hertz) * harmonics * time + phases)
            decay = np.exp(-time / np.float32(rng.uniform(0.1, 0.8)))
            total[first:stop] += np.minimum(100 * time, 1) * decay * (waves / harmonics).sum(0)
    return np.asarray(total / level(total), np.float32)


def room_response(rt60_s: float, direct_db: float, rng: np.random.Generator) -> Float32:
    """A synthetic impulse response: the direct sound at sample 0, then noise that falls by 60 dB in ``rt60_s``.

    ``direct_db`` is the direct sound over all that follows. Higher frequencies die sooner, as air and walls have it.
    """
    count = max(2, round(RATE * rt60_s))
    time = np.arange(count) / RATE
    tail = np.zeros(count)
    for slope, share in ((0.0, 0.5), (1.5, 1.0)):
        tail += coloured_noise(count, slope, rng) * 10 ** (-3 * time / (share * rt60_s))
    tail[: round(0.002 * RATE)] = 0  # nothing arrives sooner than by way of the nearest wall
    tail *= 10 ** (-direct_db / 20) / max(float(np.sqrt((tail**2).sum())), 1e-9)
    tail[0] = 1.0
    return tail.astype(np.float32)


def reverberate(samples: Float32, response: Float32) -> Float32:
    """``samples`` convolved with an impulse response, at their old level."""
    count = len(samples) + len(response) - 1
    fast = 1 << (count - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, fast) * np.fft.rfft(response, fast), fast)[: len(samples)]
    out = wet.astype(np.float32)
    return np.asarray(out * (level(samples) / level(out)), np.float32)


def equalise(samples: Float32, gains_db: npt.ArrayLike) -> Float32:
    """``samples`` through gains at points evenly spread from 60 Hz to 8 kHz in octaves, straight lines between."""
    gains = np.asarray(gains_db, np.float64)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE), 1.0))
    curve = np.interp(octaves, np.linspace(np.log2(60), np.log2(8000), len(gains)), gains)
    return np.asarray(np.fft.irfft(np.fft.rfft(samples) * 10 ** (curve / 20), len(samples)), np.float32)


def telephone_codec(samples: Float32, low_hz: float, high_hz: float, bits: int = 8) -> Float32:
    """``samples`` cut to a band and coded by μ-law (ITU-T G.711's continuous form) in ``bits`` bits."""
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    # Edges a quarter of an octave wide, so that they do not ring.
    rise = np.clip(4 * np.log2(np.maximum(hertz, 1) / low_hz) + 1, 0, 1)
    fall = np.clip(4 * np.log2(high_hz / np.maximum(hertz, 1)) + 1, 0, 1)
    band = np.fft.irfft(np.fft.rfft(samples) * rise * fall, len(samples)).clip(-1, 1)
    steps = 2 ** (bits - 1) - 1
    coded = np.round(np.sign(band) * np.log1p(_MU * np.abs(band)) / np.log1p(_MU) * steps) / steps
    return np.asarray(np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU, np.float32)


def time_stretch(samples: Float32, tempo: float) -> Float32:
    """The same voice speaking ``tempo`` times as fast: ``[round(n / tempo)]``, what was at s is now at s / tempo.

    Phase vocoder (Flanagan and Golden 1966) with phases locked to spectral peaks (Laroche and Dolson 1999).
    """
    count = round(len(samples) / tempo)
    window = np.hanning(_FFT + 1)[:-1]
    padded = np.pad(samples.astype(np.float64), (_FFT // 2, _FFT + _HOP))
    frames = count // _HOP + 2
    # Frame k of the result is centred where frame k·tempo of the source is.
    at = np.minimum(np.round(np.arange(frames) * _HOP * tempo).astype(int), len(padded) - _FFT - _HOP)
    index = np.arange(_FFT)
    now = np.fft.rfft(padded[at[:, None] + index] * window)
    after = np.fft.rfft(padded[at[:, None] + _HOP + index] * window)
    phases = _locked_phases(now, after)
    pieces = np.fft.irfft(np.abs(now) * np.exp(1j * phases), _FFT) * window
    out, weight = np.zeros(frames * _HOP + _FFT), np.zeros(frames * _HOP + _FFT)
    for k, piece in enumerate(pieces):
        out[k * _HOP : k * _HOP + _FFT] += piece
        weight[k * _HOP : k * _HOP + _FFT] += window**2
    return np.asarray((out / np.maximum(weight, 1e-3))[_FFT // 2 : _FFT // 2 + count], np.float32)


def _locked_phases(now: npt.NDArray[np.complex128], after: npt.NDArray[np.complex128]) -> Float64:
    """Phases ``[k f]`` of frames a hop apart that each turn as ``after`` does against ``now``.

    Bins follow the peak nearest to them, so that a tone stays one tone.
    """
    size, own, turn = np.abs(now), np.angle(now), np.angle(after) - np.angle(now)
    bins = np.arange(size.shape[1])
    phases = own.copy()
    for k in range(1, len(now)):
        peaks = 1 + np.flatnonzero((size[k, 1:-1] >= size[k, :-2]) & (size[k, 1:-1] > size[k, 2:]))
        if not len(peaks):
            phases[k] = phases[k - 1] + turn[k - 1]
            continue
        edges = (peaks[:-1] + peaks[1:]) // 2 + 1
        leader = peaks[np.searchsorted(edges, bins, side="right")]
        advanced = phases[k - 1, leader] + turn[k - 1, leader]
        phases[k] = own[k] + advanced - own[k, leader]
    return phases


def resample(samples: Float32, factor: float) -> Float32:
    """``samples`` played ``factor`` times as fast, ``[round(n / factor)]``: pitch and formants rise by ``factor``."""
    count = len(samples)
    fast = 1 << count.bit_length()
    spectrum = np.fft.rfft(samples, fast)
    if factor > 1:
        spectrum[int(len(spectrum) / factor) :] = 0
    # Four times the rate first, between which a straight line is close enough (images 50 dB down).
    fine = np.fft.irfft(spectrum, 4 * fast) * 4
    at = np.arange(round(count / factor)) * factor
    return np.asarray(np.interp(4 * at, np.arange(4 * fast), fine), np.float32)


def pitch_shift(samples: Float32, factor: float) -> Float32:
    """Another speaker saying the same at the same time: pitch and formants ``factor`` times as high."""
    out = resample(time_stretch(samples, 1 / factor), factor)
    return np.pad(out, (0, max(0, len(samples) - len(out))))[: len(samples)]
