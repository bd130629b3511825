"""What a segment hears: speech features of a chunk from a bounded window of sound, so that sound can stream.

wav2vec 2.0 normalises its input over the whole recording and looks at all of it. In a stream the window is bounded,
and mean and variance are those of everything heard so far, which tends to the same. With ``whole`` the recording is
taken at once, as the release does.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import Float32
from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
from lipsync_cli.engines.lip_forcing.nn.speech import FEATURE_EXTRACTOR_VARIANCE, SAMPLES_PER_FRAME, SpeechEncoder
from lipsync_cli.engines.protocol import WaveSpan

SAMPLE_RATE = 16_000


@dataclass(slots=True)
class Heard:
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
    def at(cls, start: Fraction) -> Heard:
        """A segment that begins at ``start`` seconds of the track and has heard nothing."""
        return cls(round(start * SAMPLE_RATE))

    def listen(self, samples: Float32, first: int) -> None:
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


class Hearing:
    """Speech features of chunks; ``past`` and ``lookahead`` frames around a chunk are heard with it."""

    def __init__(self, encoder: SpeechEncoder, config: LipForcingConfig, *, whole: bool = False) -> None:
        self._encoder, self._whole = encoder, whole
        self._past, self._lookahead = config.speech_past, config.speech_lookahead

    def features(self, heard: Heard, wave: WaveSpan, first: int, count: int) -> Tensor:
        """Features ``[count d]`` of the segment's video frames first … first + count − 1.

        Beyond the end of ``wave`` there is silence; its beginning must reach as far back as the window, or to the
        track's beginning.
        """
        if self._whole:
            return self._of_whole_track(heard, wave, first, count)
        # Nothing lies before the track; its frames are counted from the segment's start.
        begin = max(first - self._past, -(heard.origin // SAMPLES_PER_FRAME))
        low, high = (heard.origin + SAMPLES_PER_FRAME * i for i in (begin, first + count + self._lookahead))
        if wave.first > low and len(wave.samples):
            raise ValueError(f"sound from sample {low} on is needed, the chunk has it from {wave.first} on")
        samples = wave.samples[max(0, low - wave.first) : max(0, high - wave.first)]
        heard.listen(samples, low)
        features = self._encode(heard.normalise(samples), high - low)
        return features[first - begin : first - begin + count]

    def _of_whole_track(self, heard: Heard, wave: WaveSpan, first: int, count: int) -> Tensor:
        shift = heard.origin // SAMPLES_PER_FRAME
        if heard.features is None or len(heard.features) < shift + first + count:
            samples = wave.samples[heard.origin % SAMPLES_PER_FRAME :]
            frames = max(-(-len(samples) // SAMPLES_PER_FRAME), shift + first + count)
            moments = Heard(0)
            moments.listen(samples, 0)
            heard.features = self._encode(moments.normalise(samples), frames * SAMPLES_PER_FRAME)
        return heard.features[shift + first : shift + first + count]

    def _encode(self, samples: Float32, length: int) -> Tensor:
        device = next(self._encoder.parameters()).device
        padded = torch.zeros(length, device=device)
        padded[: len(samples)] = torch.from_numpy(np.ascontiguousarray(samples)).to(device)
        features: Tensor = self._encoder(padded)
        return features
