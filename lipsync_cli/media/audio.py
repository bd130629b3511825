"""Speech from any file with sound: mono float32 at 16 kHz, sample-exact on the clock the file is played by."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import av.error
import numpy as np
import numpy.typing as npt

from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.core.types import SPEECH_RATE, AudioSpan, Float32, MediaInfo
from lipsync_cli.media.probe import opened, probe, require_audio

# Containers with coarse stamps (1 ms) jitter around the true sample count; only a real gap is larger than this.
_GAP = Fraction(1, 50)
_WEIGHTS = {"FC": 1.0, "LFE": 0.0, "LFE2": 0.0, "FL": 0.7071, "FR": 0.7071, "DL": 0.7071, "DR": 0.7071}
_BEHIND = 0.5
_INTEGER_SCALE = {"u1": 128.0, "i2": 32_768.0, "i4": 2_147_483_648.0, "i8": 9_223_372_036_854_775_808.0}


def open_speech(
    media: MediaInfo | Path | str, *, start: Fraction | None = None, end: Fraction | None = None, stream: int = 0
) -> SpeechSource:
    """Mono speech of audio stream number ``stream`` between ``start`` and ``end`` seconds of the file.

    ``media`` is what ``probe`` found, or a path to be probed.

    Raises InputError when the file cannot be read, has no such stream, or no sample lies in that part.
    """
    if start is not None and end is not None and end <= start:
        raise UsageError(f"The end ({float(end):g} s) must come after the start ({float(start):g} s).")
    info = media if isinstance(media, MediaInfo) else probe(media)
    return SpeechSource(info, start or Fraction(0), end, stream)


class SpeechSource:
    """An iterator of AudioSpan, float32 ``[1 n]`` at 16 kHz, and a context manager that closes the file.

    ``AudioSpan.start`` counts from ``start``. Second 0 is the file's start as players have it: what is stored
    before it (encoder priming) is dropped, and a track that begins later begins with silence; gaps are silence too.
    Channels are mixed by their place, weights summing to 1, so a stereo file of two equal channels sounds as loud
    as one of them. Spans follow each other without gaps; how they are cut carries no meaning. Held: one packet.
    """

    def __init__(self, media: MediaInfo, start: Fraction, end: Fraction | None, stream: int) -> None:
        self._path, self._origin = media.path, media.second_zero
        self._first = round(start * SPEECH_RATE)
        self._last = None if end is None else round(end * SPEECH_RATE)
        self._info = require_audio(media, stream)
        self._damaged = 0
        self._spans = self._cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[AudioSpan]:
        return self

    def __next__(self) -> AudioSpan:
        return next(self._spans)

    def close(self) -> None:
        """Stop reading and close the file. Safe to call twice."""
        self._spans.close()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was skipped, one sentence each; complete once all spans are read."""
        name = self._path.name
        return (f"{self._damaged} damaged audio packets of {name} became silence.",) if self._damaged else ()

    def _cut(self) -> Generator[AudioSpan, None, None]:
        position, delivered = 0, 0
        for samples in resampled_speech(self._mono()):
            skip = max(self._first - position, 0)
            stop = len(samples) if self._last is None else min(len(samples), self._last - position)
            position += len(samples)
            if skip < stop:
                yield AudioSpan(samples[None, skip:stop], SPEECH_RATE, delivered)
                delivered += stop - skip
            if self._last is not None and position >= self._last:
                break
        if not delivered:
            raise self._nothing(position)

    def _nothing(self, position: int) -> InputError:
        if position:
            length = position / SPEECH_RATE
            return InputError(f"{self._path.name} ends after {length:.2f} s, before the part asked for.")
        return InputError(
            f"The audio of {self._path.name} is empty: no sample of its {self._info.codec} stream can be decoded.",
            hint="Give a file with sound in it.",
        )

    def _mono(self) -> Iterator[tuple[Float32, int]]:
        """Mono samples from second 0 on, without gaps, and their rate, which is the stream's own."""
        rate, position = 0, 0
        with opened(self._path) as container:
            for frame in self._frames(container):
                # The header of some AAC gives half the rate, so the first frame decides.
                rate = rate or frame.sample_rate
                if frame.sample_rate != rate:
                    raise InputError(
                        f"The sample rate of {self._path.name} changes from {rate} to {frame.sample_rate} Hz.",
                        hint="Bring it to one rate first.",
                    )
                samples, due = _mixed(frame), _position(frame, self._origin, rate)
                if due is not None and (position == 0 or abs(due - position) > _GAP * rate):
                    yield from ((silence, rate) for silence in _silence(due - position))
                    samples = samples[max(position - due, 0) :]
                    position = max(due, position)
                position += len(samples)
                if len(samples):
                    yield samples, rate

    def _frames(self, container: av.container.InputContainer) -> Iterator[av.AudioFrame]:
        stream = container.streams[self._info.index]
        assert isinstance(stream, av.AudioStream)
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                packet = None
            try:
                yield from stream.decode(packet)
            except av.error.EOFError:
                pass
            except av.error.FFmpegError:
                self._damaged += 1
            if packet is None:
                return


def resampled_speech(mono: Iterable[tuple[Float32, int]]) -> Iterator[Float32]:
    """Mono samples at 16 kHz from blocks of them with their rate, which is the same for all. Held: one block."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SPEECH_RATE)
    pts = 0
    for samples, rate in mono:
        if rate == SPEECH_RATE:
            yield samples
            continue
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, pts, Fraction(1, rate)
        pts += len(samples)
        yield from (clipped(out.to_ndarray()[0]) for out in resampler.resample(frame))
    if pts:
        yield from (clipped(out.to_ndarray()[0]) for out in resampler.resample(None))


def _position(frame: av.AudioFrame, origin: Fraction, rate: int) -> int | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return round((frame.pts * frame.time_base - origin) * rate)


def _silence(length: int) -> Iterator[Float32]:
    for begin in range(0, max(length, 0), 65_536):
        yield np.zeros(min(65_536, length - begin), np.float32)


def clipped(samples: Float32) -> Float32:
    """Samples within [−1, 1]; the resampling filter overshoots at full-scale edges."""
    return np.clip(samples, -1.0, 1.0)


def _mixed(frame: av.AudioFrame) -> Float32:
    """One channel, float32 ``[n]`` in [−1, 1], of a decoded frame in any sample format."""
    array: npt.NDArray[Any] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    if not frame.format.is_planar:
        array = array.reshape(-1, channels).T
    # Unsigned samples have their silence in the middle.
    middle, scale = (128.0 if array.dtype == np.uint8 else 0.0), _INTEGER_SCALE.get(array.dtype.str[1:], 1.0)
    samples: npt.NDArray[np.float64] = (array.astype(np.float64) - middle) / scale
    mixed: npt.NDArray[np.float64] = samples[0] if channels == 1 else _weights(frame, channels) @ samples
    return clipped(np.nan_to_num(mixed, nan=0.0).astype(np.float32))


def _weights(frame: av.AudioFrame, channels: int) -> npt.NDArray[np.float64]:
    names = [channel.name for channel in frame.layout.channels]
    weights = np.array([_WEIGHTS.get(name, _BEHIND) for name in names])
    if len(names) != channels or weights.sum() == 0 or channels == 2:
        weights = np.ones(channels)
    total: float = weights.sum()
    return weights / total


def duration_of(media: MediaInfo | Path | str, stream: int = 0) -> Fraction:
    """Seconds from the file's start to the end of an audio stream.

    ``media`` is what ``probe(…, measure="audio")`` found, or a path. Read from all packets; nothing is decoded unless
    they lack times. Raises InputError as ``open_speech`` does.
    """
    info = media if isinstance(media, MediaInfo) else probe(media, measure="audio")
    measured = require_audio(info, stream).measured
    return _decoded_duration(info, stream) if measured is None else measured


def _decoded_duration(media: MediaInfo, stream: int) -> Fraction:
    with open_speech(media, stream=stream) as spans:
        return Fraction(sum(span.samples.shape[1] for span in spans), SPEECH_RATE)
