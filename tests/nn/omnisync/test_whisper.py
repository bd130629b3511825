"""Whisper's ears: both kinds of checkpoint load strictly, features are transformers' own."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from lipsync_cli.nn.checkpoints import load_strictly
from lipsync_cli.nn.omnisync.whisper import WhisperEars, WhisperSizes, create_whisper, whisper_tensors

SIZES = WhisperSizes(width=16, layers=2, heads=2, feed_forward=24, mels=80, seconds=2)
OPENAI = (
    (r"^embed_positions\.weight$", "positional_embedding"),
    (r"^layer_norm\.", "ln_post."),
    (r"^layers\.(\d+)\.self_attn_layer_norm\.", r"blocks.\1.attn_ln."),
    (r"^layers\.(\d+)\.final_layer_norm\.", r"blocks.\1.mlp_ln."),
    (r"^layers\.(\d+)\.self_attn\.q_proj\.", r"blocks.\1.attn.query."),
    (r"^layers\.(\d+)\.self_attn\.k_proj\.", r"blocks.\1.attn.key."),
    (r"^layers\.(\d+)\.self_attn\.v_proj\.", r"blocks.\1.attn.value."),
    (r"^layers\.(\d+)\.self_attn\.out_proj\.", r"blocks.\1.attn.out."),
    (r"^layers\.(\d+)\.fc1\.", r"blocks.\1.mlp.0."),
    (r"^layers\.(\d+)\.fc2\.", r"blocks.\1.mlp.2."),
)


def openai_name(key: str) -> str:
    for pattern, replacement in OPENAI:
        key = re.sub(pattern, replacement, key)
    return f"encoder.{key}"


@pytest.fixture(scope="module")
def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_whisper(SIZES).eval()


@pytest.mark.parametrize("kind", ["openai", "transformers"])
def test_published_files_load_strictly(encoder, tmp_path, kind):
    """OpenAI's has dims beside the weights, and both a decoder that nobody here listens to."""
    state = encoder.state_dict()
    decoder = {"decoder.ln.weight": torch.zeros(3)}
    if kind == "openai":
        tensors = {openai_name(key): value.half() for key, value in state.items()} | decoder
        torch.save({"dims": {"n_mels": 80}, "model_state_dict": tensors}, tmp_path / "w.pt")
    else:
        torch.save({f"model.encoder.{k}": v for k, v in state.items()} | {"model.decoder.x": torch.zeros(1)},
                   tmp_path / "w.pt")  # fmt: skip
    loaded = load_strictly(lambda: create_whisper(SIZES), tmp_path / "w.pt", rename=whisper_tensors)
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, state[key], atol=1e-3, rtol=1e-3)


def test_two_features_a_frame_and_those_of_transformers(encoder):
    from transformers import WhisperFeatureExtractor

    samples = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 640 * 20).astype(np.float32))
    features = WhisperEars(encoder, SIZES)(samples)
    assert features.shape == (40, 16)
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    mel = extractor(samples.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        whole = encoder(mel).last_hidden_state[0]
    assert whole.shape == (100, 16)
    torch.testing.assert_close(features, whole[:40])


def test_sound_of_another_shape_is_refused(encoder):
    ears = WhisperEars(encoder, SIZES)
    for length in (100, 640 * 51):
        with pytest.raises(ValueError, match="at most 2 s"):
            ears(torch.zeros(length))
