"""Log-mel rows and silence of a dub track, read once from front to back in bounded memory.

Row r is centred on r / 100 seconds. Before the track begins and after it ends there is silence. What a row holds
depends on the samples alone, never on how they arrived.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lipsync_cli.audio.mel import HOP, WINDOW, log_mel
from lipsync_cli.core.types import MEL_RATE, SPEECH_RATE, AudioSpan, Float32

HALF_WINDOW = WINDOW // 2
KEEP_SECONDS = 60
"""How far back rows can still be asked for, counted from the last row handed out."""

# Speech is what is louder than the floor and not far below the loudest moment so far.
SPEECH_FLOOR_DB = -52.0
SPEECH_BELOW_PEAK_DB = 38.0
PEAK_AT_START_DB = -24.0
# A pause counts as silence when no speech is within HOLD rows; the edge is then SOFT rows wide on each side.
HOLD_ROWS, SOFT_ROWS = 15, 6
SILENCE_LOOKAHEAD_ROWS = HOLD_ROWS + SOFT_ROWS


class SpeechTrack:
    """Random access, within the last minute, to the mel rows and the silence of a stream of 16 kHz mono spans."""

    def __init__(self, spans: Iterator[AudioSpan], *, keep_all: bool = False) -> None:
        """``keep_all`` keeps the whole track, for models that want all of it at once."""
        self._spans, self._keep_all = spans, keep_all
        self._samples = np.zeros(0, np.float32)
        self._first = 0
        self._ended = False
        self._loudness = np.zeros(0, np.float32)
        self._loudness_first = 0
        self._peak_db = PEAK_AT_START_DB

    def rows(self, first: int, count: int) -> Float32:
        """Mel rows ``[count 80]`` first … first + count − 1; ``first`` may be negative."""
        start, stop = first * HOP - HALF_WINDOW, (first + count - 1) * HOP + HALF_WINDOW
        return log_mel(self._read(start, stop))

    def samples(self, start: int, stop: int) -> tuple[int, Float32]:
        """Those of samples start … stop − 1 that exist, and the number of the first of them."""
        begin = max(start, 0)
        read = self._read(begin, max(stop, begin))
        return begin, read[: max(0, self._first + len(self._samples) - begin)]

    def all_samples(self) -> Float32:
        """The whole track ``[n]``, read to its end; needs ``keep_all``."""
        if not self._keep_all:
            raise ValueError("the beginning of this track has been or may be let go")
        while not self._ended:
            self._fill(self._first + len(self._samples) + SPEECH_RATE)
        return self._samples

    def silence(self, time_s: float) -> float:
        """1 deep in a pause, 0 in speech, in between across the 0.12 s around a pause's edge."""
        centre = round(time_s * MEL_RATE)
        reach = SILENCE_LOOKAHEAD_ROWS
        speech = self._speech(centre - reach, 2 * reach + 1)
        held = np.lib.stride_tricks.sliding_window_view(speech, 2 * HOLD_ROWS + 1).max(1)
        return 1.0 - float(held.mean())

    def _speech(self, first: int, count: int) -> Float32:
        """1 for rows that are loud enough, 0 elsewhere."""
        self._measure(first + count)
        level = np.full(count, -200.0, np.float32)
        begin = max(first, self._loudness_first)
        known = self._loudness[begin - self._loudness_first : first + count - self._loudness_first]
        level[begin - first : begin - first + len(known)] = known
        return (level > 0).astype(np.float32)

    def _measure(self, stop: int) -> None:
        """Extend the margins above the threshold up to row ``stop``; the threshold follows the peak so far."""
        measured = self._loudness_first + len(self._loudness)
        if stop <= measured:
            return
        samples = self._read(measured * HOP - HOP // 2, stop * HOP - HOP // 2)
        power = np.square(samples).reshape(-1, HOP).mean(1)
        level = 10 * np.log10(power + 1e-12)
        peak = np.maximum.accumulate(np.maximum(level, self._peak_db))
        self._peak_db = float(peak[-1])
        margin = level - np.maximum(SPEECH_FLOOR_DB, peak - SPEECH_BELOW_PEAK_DB)
        self._loudness = np.concatenate([self._loudness, margin.astype(np.float32)])
        excess = len(self._loudness) - KEEP_SECONDS * MEL_RATE
        if excess > 0:
            self._loudness = self._loudness[excess:]
            self._loudness_first += excess

    def _read(self, start: int, stop: int) -> Float32:
        """Samples start … stop − 1, zero outside the track."""
        self._fill(stop)
        begin, end = max(start, 0), max(stop, 0)
        if begin < self._first and self._first > 0 and end > begin:
            raise ValueError(f"sample {begin} was asked for after it had been let go (kept: from {self._first})")
        known = self._samples[begin - self._first : max(0, end - self._first)]
        out = np.zeros(stop - start, np.float32)
        out[begin - start : begin - start + len(known)] = known
        keep_from = stop - KEEP_SECONDS * SPEECH_RATE
        if keep_from - self._first > SPEECH_RATE and not self._keep_all:
            self._samples = self._samples[keep_from - self._first :]
            self._first = keep_from
        return out

    def _fill(self, stop: int) -> None:
        parts, have = [self._samples], self._first + len(self._samples)
        while have < stop and not self._ended:
            span = next(self._spans, None)
            if span is None:
                self._ended = True
                break
            parts.append(span.samples[0])
            have += span.samples.shape[1]
        if len(parts) > 1:
            self._samples = np.concatenate(parts)
