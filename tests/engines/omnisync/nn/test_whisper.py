"""Whisper's ears: features are transformers' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.engines.omnisync.nn.whisper import WhisperFeatures
from lipsync_cli.nn.whisper import WhisperSizes, create_whisper

SIZES = WhisperSizes(width=16, layers=2, heads=2, feed_forward=24, mels=80, positions=100)


@pytest.fixture(scope="module")
def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_whisper(SIZES).eval()


def test_two_features_a_frame_and_those_of_transformers(encoder):
    from transformers import WhisperFeatureExtractor

    samples = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 640 * 20).astype(np.float32))
    features = WhisperFeatures(encoder, SIZES)(samples)
    assert features.shape == (40, 16)
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    mel = extractor(samples.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        whole = encoder(mel).last_hidden_state[0]
    assert whole.shape == (100, 16)
    torch.testing.assert_close(features, whole[:40])


def test_sound_of_another_shape_is_refused(encoder):
    ears = WhisperFeatures(encoder, SIZES)
    for length in (100, 640 * 51):
        with pytest.raises(ValueError, match="at most 2 s"):
            ears(torch.zeros(length))
