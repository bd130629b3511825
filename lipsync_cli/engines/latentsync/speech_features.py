"""Speech features: Whisper's activations from a bounded window of sound, so that sound can stream.

The releases cut the whole recording into windows of 30 s and hear nothing across their borders, which users see as a
twitch of the mouth. Here every window of frames is heard in the middle of some seconds of its own, about as long as
the clips of the training, the rest of the 30 s being filled with zeros as it was then. Loudness is judged by the
loudest moment heard so far, which tends to the recording's. With ``whole`` everything is as in the releases.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import SPEECH_RATE, Float32
from lipsync_cli.engines.latentsync.config import POSITIONS_PER_FRAME, LatentSyncConfig
from lipsync_cli.engines.latentsync.nn.speech import WhisperActivations, frame_tokens, log_mel, normalised
from lipsync_cli.engines.protocol import WaveSpan
from lipsync_cli.engines.speech_window import cut_window
from lipsync_cli.nn.whisper import COLUMNS_PER_POSITION, SAMPLES_PER_POSITION

SAMPLES_PER_FRAME = POSITIONS_PER_FRAME * SAMPLES_PER_POSITION
LOUDEST_AT_LEAST = 0.0
"""In decades of power, what speech reaches: silence before the first word is not to be taken for whispering."""


@dataclass(slots=True)
class SpeechLoudness:
    """What a segment remembers of its sound.

    ``origin``: the track's sample at the segment's first frame. ``loudest``: decades of power, of all the
    sound so far. ``activations`` float32[n l d]: those of the whole track, if wanted.
    """

    origin: int
    loudest: float = LOUDEST_AT_LEAST
    activations: Tensor | None = None

    @classmethod
    def at(cls, start: Fraction) -> Self:
        """A segment that begins at ``start`` seconds of the track and has heard nothing."""
        return cls(round(start * SPEECH_RATE))

    @property
    def first_frame(self) -> int:
        """Number of the segment's first frame on the track's own clock."""
        return self.origin // SAMPLES_PER_FRAME


class SpeechTokens:
    """Tokens of windows of frames; ``past`` and ``lookahead`` frames around a window are heard with it."""

    def __init__(self, encoder: WhisperActivations, config: LatentSyncConfig, *, whole: bool = False) -> None:
        self._encoder, self._whole = encoder, whole
        self._past, self._lookahead = config.speech_past, config.speech_lookahead

    def tokens(self, loudness: SpeechLoudness, wave: WaveSpan, first: int, count: int) -> Tensor:
        """Tokens ``[count n d]`` of the segment's frames first … first + count − 1.

        Beyond the end of ``wave`` there is silence; its beginning must reach as far back as the window, or to the
        track's beginning.
        """
        if self._whole:
            shown = torch.arange(count) + loudness.first_frame + first
            return frame_tokens(self.whole_track(loudness, wave), shown)
        window = cut_window(
            wave, origin=loudness.origin, per_frame=SAMPLES_PER_FRAME, first=first, count=count,
            past=self._past, lookahead=self._lookahead,
        )  # fmt: skip
        mel = self._mel(window.samples, window.length)
        loudness.loudest = max(loudness.loudest, float(mel.max()))
        activations = self._encoder(normalised(mel, loudness.loudest))
        return frame_tokens(activations, torch.arange(window.offset, window.offset + count))

    def whole_track(self, loudness: SpeechLoudness, wave: WaveSpan) -> Tensor:
        """Activations ``[n l d]`` of the whole of ``wave`` as the releases have them: hard borders every 30 s."""
        if loudness.activations is None:
            samples = wave.samples[loudness.origin % SAMPLES_PER_FRAME :]
            mel = self._mel(samples, max(len(samples), SAMPLES_PER_FRAME))
            columns = COLUMNS_PER_POSITION * self._encoder.positions
            parts = torch.split(normalised(mel, float(mel.max())), columns, 1)
            loudness.activations = torch.cat([self._encoder(part) for part in parts])
        return loudness.activations

    def _mel(self, samples: Float32, length: int) -> Tensor:
        padded = torch.zeros(length, device=next(self._encoder.parameters()).device)
        padded[: len(samples)] = torch.from_numpy(np.ascontiguousarray(samples)).to(padded.device)
        return log_mel(padded)
