"""Speech features of a window's video frames from a bounded stretch of sound, grouped by latent frame."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.types import MEL_RATE, SPEECH_RATE, Float32
from lipsync_cli.engines.omnisync.config import FEATURES_PER_FRAME, MEL_WIDTH, OmniSyncConfig
from lipsync_cli.engines.omnisync.nn.whisper import WhisperFeatures
from lipsync_cli.engines.protocol import CropChunk

ROWS_BEFORE = 2
"""Log-mel rows of a video frame that lie before its own time."""


def frame_features(
    config: OmniSyncConfig, encoder: WhisperFeatures | None, chunk: CropChunk, start: Fraction, first: int, count: int
) -> Tensor:
    """Features ``[count 2 a]`` of a segment's video frames from ``first`` on, which begins at ``start`` seconds.

    ``chunk`` has the log-mel rows or the waveform around them. ValueError where it does not reach far enough.
    """
    if encoder is None:
        rows_per_frame = MEL_RATE // config.rate
        row = round(start * MEL_RATE) + rows_per_frame * first - ROWS_BEFORE - chunk.mel.first
        stop = row + rows_per_frame * count
        if row < 0 or stop > len(chunk.mel.rows):
            raise ValueError(f"mel rows {row} … {stop - 1} of {len(chunk.mel.rows)} were needed")
        return mel_features(chunk.mel.rows[row:stop])
    origin = round(start * SPEECH_RATE) - chunk.wave.first
    return whisper_features(config, encoder, chunk.wave.samples, origin, first, count)


def mel_features(rows: Float32) -> Tensor:
    """Features ``[n 2 160]`` of n video frames' log-mel rows ``[4·n 80]``."""
    return torch.from_numpy(np.ascontiguousarray(rows)).reshape(-1, FEATURES_PER_FRAME, MEL_WIDTH)


def whisper_features(
    config: OmniSyncConfig, encoder: WhisperFeatures, samples: Float32, origin: int, first: int, count: int
) -> Tensor:
    """Features ``[count 2 a]`` of video frames from ``first`` on; frame 0 begins at ``samples[origin]``.

    Beyond ``samples`` there is silence. What is heard lies from ``speech_past`` frames before to ``speech_lookahead``
    after.
    """
    per_frame = SPEECH_RATE // config.rate
    low = origin + per_frame * (first - config.speech_past)
    high = origin + per_frame * (first + count + config.speech_lookahead)
    samples_heard = torch.zeros(high - low)
    begin, end = max(low, 0), min(high, len(samples))
    if end > begin:
        samples_heard[begin - low : end - low] = torch.from_numpy(np.ascontiguousarray(samples[begin:end]))
    features = torch.unflatten(encoder(samples_heard), 0, (-1, FEATURES_PER_FRAME))
    return features[config.speech_past : config.speech_past + count]


def by_latent_frame(config: OmniSyncConfig, features: Tensor) -> Tensor:
    """Tokens ``[n m a]`` of n latent frames from the features ``[heard 2 a]`` of all frames they hear."""
    own, step = config.heard_frames(1), config.frames_per_latent
    return features.unfold(0, own, step).permute(0, 3, 1, 2).flatten(1, 2)
