"""What a segment hears: Whisper's activations from a bounded window of sound, so that sound can stream.

The releases cut the whole recording into windows of 30 s and hear nothing across their borders, which users see as a
twitch of the mouth. Here every window of frames is heard in the middle of some seconds of its own, about as long as
the clips of the training, the rest of the 30 s being filled with zeros as it was then. Loudness is judged by the
loudest moment heard so far, which tends to the recording's. With ``whole`` everything is as in the releases.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import Float32
from lipsync_cli.engines.latentsync.config import POSITIONS_PER_FRAME, LatentSyncConfig
from lipsync_cli.engines.latentsync.nn.speech import SpeechEncoder, frame_tokens, log_mel, normalised
from lipsync_cli.engines.protocol import WaveSpan
from lipsync_cli.nn.whisper import COLUMNS_PER_POSITION, SAMPLE_RATE, SAMPLES_PER_POSITION

SAMPLES_PER_FRAME = POSITIONS_PER_FRAME * SAMPLES_PER_POSITION
LOUDEST_AT_LEAST = 0.0
"""In decades of power, what speech reaches: silence before the first word is not to be taken for whispering."""


@dataclass(slots=True)
class Heard:
    """What a segment remembers of its sound.

    ``origin``: the track's sample at the segment's first frame. ``loudest``: decades of power, of all that was heard.
    ``activations`` float32[n l d]: those of the whole track, if wanted.
    """

    origin: int
    loudest: float = LOUDEST_AT_LEAST
    activations: Tensor | None = None

    @classmethod
    def at(cls, start: Fraction) -> Heard:
        """A segment that begins at ``start`` seconds of the track and has heard nothing."""
        return cls(round(start * SAMPLE_RATE))

    @property
    def first_frame(self) -> int:
        """Number of the segment's first frame on the track's own clock."""
        return self.origin // SAMPLES_PER_FRAME


class Hearing:
    """Tokens of windows of frames; ``past`` and ``lookahead`` frames around a window are heard with it."""

    def __init__(self, encoder: SpeechEncoder, config: LatentSyncConfig, *, whole: bool = False) -> None:
        self._encoder, self._whole = encoder, whole
        self._past, self._lookahead = config.speech_past, config.speech_lookahead

    def tokens(self, heard: Heard, wave: WaveSpan, first: int, count: int) -> Tensor:
        """Tokens ``[count n d]`` of the segment's frames first … first + count − 1.

        Beyond the end of ``wave`` there is silence; its beginning must reach as far back as the window, or to the
        track's beginning.
        """
        if self._whole:
            shown = torch.arange(count) + heard.first_frame + first
            return frame_tokens(self.whole_track(heard, wave), shown)
        # Nothing lies before the track; its frames are counted from the segment's start.
        begin = max(first - self._past, -heard.first_frame)
        low, high = (heard.origin + SAMPLES_PER_FRAME * i for i in (begin, first + count + self._lookahead))
        if wave.first > low and len(wave.samples):
            raise ValueError(f"sound from sample {low} on is needed, the chunk has it from {wave.first} on")
        mel = self._mel(wave.samples[max(0, low - wave.first) : max(0, high - wave.first)], high - low)
        heard.loudest = max(heard.loudest, float(mel.max()))
        activations = self._encoder(normalised(mel, heard.loudest))
        return frame_tokens(activations, torch.arange(first - begin, first - begin + count))

    def whole_track(self, heard: Heard, wave: WaveSpan) -> Tensor:
        """Activations ``[n l d]`` of the whole of ``wave`` as the releases have them: hard borders every 30 s."""
        if heard.activations is None:
            samples = wave.samples[heard.origin % SAMPLES_PER_FRAME :]
            mel = self._mel(samples, max(len(samples), SAMPLES_PER_FRAME))
            columns = COLUMNS_PER_POSITION * self._encoder.positions
            parts = torch.split(normalised(mel, float(mel.max())), columns, 1)
            heard.activations = torch.cat([self._encoder(part) for part in parts])
        return heard.activations

    def _mel(self, samples: Float32, length: int) -> Tensor:
        padded = torch.zeros(length, device=next(self._encoder.parameters()).device)
        padded[: len(samples)] = torch.from_numpy(np.ascontiguousarray(samples)).to(padded.device)
        return log_mel(padded)
