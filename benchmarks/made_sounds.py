"""Sounds that no clip has, made anew each time and always the same: silence, singing and shouting.

The singing is a formant synthesis (Klatt 1980) of open syllables on a melody, with vibrato. The shouting is speech
raised by two and a half semitones and driven into clipping. Both are harsher than the real thing and say only what
the model does with sustained vowels, high pitch and level.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from lipsync_cli.core.types import Float64
from tests.helpers.synthetic import run_ffmpeg

RATE = 16_000
SYLLABLE_S, CLOSED_S = 0.6, 0.08
NOTES_HZ = (220.0, 277.2, 329.6, 440.0, 392.0, 329.6, 293.7, 220.0)
VIBRATO_HZ, VIBRATO_DEPTH = 5.5, 0.02
# First three formants and their bandwidths in Hz: a, i, o, e, u (Peterson and Barney 1952, women, rounded).
VOWELS = ((850, 1220, 2810), (310, 2790, 3310), (590, 920, 2710), (610, 2330, 2990), (370, 950, 2670))
BANDWIDTHS = (80, 100, 140)
SHOUT = f"aresample={RATE},asetrate={RATE * 1.155:.0f},aresample={RATE},atempo={1 / 1.155:.4f},volume=24dB"


def write_silence(path: Path, seconds: float) -> Path:
    """Digital silence, 16 kHz mono."""
    return _write(path, np.zeros(round(seconds * RATE)))


def write_sung(path: Path, seconds: float) -> Path:
    """“Ma mi mo me mu” on a melody, a syllable every 0.6 s, 16 kHz mono."""
    return _write(path, sung(seconds))


def write_shouted(path: Path, speech: Path, start: float, seconds: float) -> Path:
    """``seconds`` of ``speech`` as if shouted, 16 kHz mono."""
    cut = ("-ss", f"{start:.3f}", "-t", f"{seconds:.3f}", "-i", str(speech), "-vn")
    run_ffmpeg(*cut, "-af", SHOUT, "-ac", "1", "-c:a", "pcm_s16le", str(path))
    return path


def sung(seconds: float) -> Float64:
    """Samples in [−1, 1] at 16 kHz."""
    count = round(seconds * RATE)
    time = np.arange(count) / RATE
    syllable = (time / SYLLABLE_S).astype(int)
    pitch = np.array(NOTES_HZ)[syllable % len(NOTES_HZ)]
    pitch = pitch * (1 + VIBRATO_DEPTH * np.sin(2 * np.pi * VIBRATO_HZ * time))
    phase = np.cumsum(pitch) / RATE % 1.0
    source = lfilter([1.0], [1.0, -0.9], np.diff(phase, prepend=0.0))
    out = np.zeros(count)
    for index, formants in enumerate(VOWELS):
        voiced = _resonate(source, formants)
        here = syllable % len(VOWELS) == index
        out[here] = voiced[here] / (np.abs(voiced).max() + 1e-9)
    # Lips are closed at the beginning of each syllable: quiet, and only low frequencies.
    closed = (time % SYLLABLE_S) < CLOSED_S
    opened = lfilter([0.02], [1.0, -0.98], np.where(closed, 0.0, 1.0))
    hum = _resonate(source, (250,))
    return np.asarray(0.8 * out * opened + 0.1 * hum / np.abs(hum).max() * (1 - opened))


def _resonate(source: Float64, formants: tuple[int, ...]) -> Float64:
    """``source`` through one two-pole resonator after another."""
    out = source
    for centre, width in zip(formants, BANDWIDTHS, strict=False):
        radius = np.exp(-np.pi * width / RATE)
        b, c = 2 * radius * np.cos(2 * np.pi * centre / RATE), -(radius**2)
        out = lfilter([1 - b - c], [1.0, -b, -c], out)
    return np.asarray(out)


def _write(path: Path, samples: Float64) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path
