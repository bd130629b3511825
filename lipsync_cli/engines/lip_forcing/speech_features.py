"""Speech features of a chunk from a bounded window of sound, so that sound can stream.

wav2vec 2.0 normalises its input over the whole recording and looks at all of it. In a stream the window is bounded,
and mean and variance are those of everything heard so far, which tends to the same. With ``whole`` the recording is
taken at once, as the release does.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import SPEECH_RATE, Float32
from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
from lipsync_cli.engines.lip_forcing.nn.speech import FEATURE_EXTRACTOR_VARIANCE, SAMPLES_PER_FRAME, Wav2Vec2Features
from lipsync_cli.engines.protocol import WaveSpan
from lipsync_cli.engines.speech_window import cut_window


@dataclass(slots=True)
class SpeechMoments:
    """What a segment remembers of its sound.

    ``origin``: the track's sample at the segment's first frame. ``count``, ``total``, ``squares``: moments of the
    samples heard, up to sample ``until``. ``features`` float32[n d]: those of the whole track, if wanted.
    """

    origin: int
    until: int = 0
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    features: Tensor | None = None

    @classmethod
    def at(cls, start: Fraction) -> Self:
        """A segment that begins at ``start`` seconds of the track and has heard nothing."""
        return cls(round(start * SPEECH_RATE))

    def add(self, samples: Float32, first: int) -> None:
        """Add samples from number ``first`` on, as far as they are new, to the moments."""
        new = samples[max(0, self.until - first) :].astype(np.float64)
        self.count += len(new)
        self.total += float(new.sum())
        self.squares += float(np.square(new).sum())
        self.until = max(self.until, first + len(samples))

    def normalise(self, samples: Float32) -> Float32:
        """Samples at zero mean and unit variance by the moments so far."""
        mean = self.total / max(self.count, 1)
        variance = max(0.0, self.squares / max(self.count, 1) - mean**2)
        return np.asarray((samples - mean) / np.sqrt(variance + FEATURE_EXTRACTOR_VARIANCE), np.float32)


class SpeechFeatures:
    """Speech features of chunks; ``past`` and ``lookahead`` frames around a chunk are heard with it."""

    def __init__(self, encoder: Wav2Vec2Features, config: LipForcingConfig, *, whole: bool = False) -> None:
        self._encoder, self._whole = encoder, whole
        self._past, self._lookahead = config.speech_past, config.speech_lookahead

    def features(self, moments: SpeechMoments, wave: WaveSpan, first: int, count: int) -> Tensor:
        """Features ``[count d]`` of the segment's video frames first … first + count − 1.

        Beyond the end of ``wave`` there is silence; its beginning must reach as far back as the window, or to the
        track's beginning.
        """
        if self._whole:
            return self._of_whole_track(moments, wave, first, count)
        window = cut_window(
            wave, origin=moments.origin, per_frame=SAMPLES_PER_FRAME, first=first, count=count,
            past=self._past, lookahead=self._lookahead,
        )  # fmt: skip
        moments.add(window.samples, window.low)
        features = self._encode(moments.normalise(window.samples), window.length)
        return features[window.offset : window.offset + count]

    def _of_whole_track(self, moments: SpeechMoments, wave: WaveSpan, first: int, count: int) -> Tensor:
        shift = moments.origin // SAMPLES_PER_FRAME
        if moments.features is None or len(moments.features) < shift + first + count:
            samples = wave.samples[moments.origin % SAMPLES_PER_FRAME :]
            frames = max(-(-len(samples) // SAMPLES_PER_FRAME), shift + first + count)
            all_of_it = SpeechMoments(0)
            all_of_it.add(samples, 0)
            moments.features = self._encode(all_of_it.normalise(samples), frames * SAMPLES_PER_FRAME)
        return moments.features[shift + first : shift + first + count]

    def _encode(self, samples: Float32, length: int) -> Tensor:
        device = next(self._encoder.parameters()).device
        padded = torch.zeros(length, device=device)
        padded[: len(samples)] = torch.from_numpy(np.ascontiguousarray(samples)).to(device)
        features: Tensor = self._encoder(padded)
        return features
