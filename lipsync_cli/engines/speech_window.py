"""Which part of the sound a chunk of frames is heard with: a bounded window, so that sound can stream."""

from __future__ import annotations

from dataclasses import dataclass

from lipsync_cli.core.types import Float32
from lipsync_cli.engines.protocol import WaveSpan


@dataclass(frozen=True, slots=True)
class SpeechWindow:
    """Samples that exist of a window of ``length`` samples that starts at the track's sample ``low``.

    What lies beyond them is silence. The chunk's first frame is frame ``offset`` of the window.
    """

    samples: Float32
    low: int
    length: int
    offset: int


def cut_window(
    wave: WaveSpan, *, origin: int, per_frame: int, first: int, count: int, past: int, lookahead: int
) -> SpeechWindow:
    """The window of frames first … first + count − 1 of a segment, ``past`` frames before and ``lookahead`` after.

    The segment's frame 0 begins at the track's sample ``origin``; a frame has ``per_frame`` samples. Nothing lies
    before the track, whose frames are counted from the segment's start. ValueError if ``wave`` begins too late.
    """
    begin = max(first - past, -(origin // per_frame))
    low, high = (origin + per_frame * frame for frame in (begin, first + count + lookahead))
    if wave.first > low and len(wave.samples):
        raise ValueError(f"sound from sample {low} on is needed, the chunk has it from {wave.first} on")
    samples = wave.samples[max(0, low - wave.first) : max(0, high - wave.first)]
    return SpeechWindow(samples, low, high - low, first - begin)
