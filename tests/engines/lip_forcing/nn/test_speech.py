"""Speech features: decimation equals interpolation, every layer is there, original key names are understood."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lipsync_cli.engines.lip_forcing.nn.speech import (
    SAMPLES_PER_FRAME,
    Wav2Vec2Features,
    create_wav2vec2,
    wav2vec2_tensors,
)

WIDTH, LAYERS = 32, 2


@pytest.fixture(scope="module")
def encoder() -> Wav2Vec2Features:
    torch.manual_seed(0)
    return Wav2Vec2Features(create_wav2vec2(WIDTH, LAYERS, 2, 48)).eval()


@torch.no_grad()
def test_features_are_transformers_own_layers_on_interpolated_steps(encoder):
    """The original interpolates 2n − 1 steps to n with aligned corners, then runs the model as it is."""
    frames = 30
    samples = torch.randn(frames * SAMPLES_PER_FRAME)
    features = encoder(samples)
    assert features.shape == (frames, (LAYERS + 2) * WIDTH) == (frames, encoder.width)
    steps = encoder.wav2vec2.feature_extractor(samples[None])
    assert steps.shape[-1] == 2 * frames - 1
    halved = F.interpolate(steps, size=frames, mode="linear", align_corners=True)
    whole = type(encoder.wav2vec2)(encoder.wav2vec2.config).eval()
    whole.load_state_dict(encoder.wav2vec2.state_dict())
    whole.feature_extractor.forward = lambda values: halved
    out = whole(samples[None], output_hidden_states=True)
    expected = torch.cat([out.last_hidden_state, *out.hidden_states], -1)[0]
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=0)
    assert torch.equal(features[:, :WIDTH], features[:, -WIDTH:])


def test_the_base_model_gives_10752_features_and_has_the_files_parameters():
    with torch.device("meta"):
        full = create_wav2vec2()
    assert Wav2Vec2Features(full).width == 10752
    # 377,607,901 bytes in float32, less 32 recognition outputs of 768 weights and a bias, and the mask vector.
    parameters = sum(parameter.numel() for parameter in full.parameters())
    assert 0 < 377_607_901 - 4 * (parameters + 32 * 769 + 768) < 40_000


@torch.no_grad()
def test_checkpoints_with_head_prefix_and_old_names_load(encoder):
    old = {}
    for key, value in encoder.wav2vec2.state_dict().items():
        name = key.replace("parametrizations.weight.original0", "weight_g")
        old["wav2vec2." + name.replace("parametrizations.weight.original1", "weight_v")] = value
    old |= {"lm_head.weight": torch.zeros(3), "wav2vec2.masked_spec_embed": torch.zeros(3)}
    other = Wav2Vec2Features(create_wav2vec2(WIDTH, LAYERS, 2, 48)).eval()
    other.wav2vec2.load_state_dict(wav2vec2_tensors(old), strict=True)
    samples = torch.randn(5 * SAMPLES_PER_FRAME)
    torch.testing.assert_close(other.settle()(samples), encoder(samples), atol=1e-5, rtol=0)


def test_sound_that_is_not_whole_frames_is_refused(encoder):
    with pytest.raises(ValueError, match="whole frames"):
        encoder(torch.zeros(1000))
