"""What LatentSync hears: the spectrogram against transformers, the activations against Whisper written down again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from lipsync_cli.core.errors import ModelError
from lipsync_cli.engines.latentsync.nn.speech import (
    WhisperActivations,
    _bank,
    frame_tokens,
    log_mel,
    normalised,
)
from lipsync_cli.nn.checkpoints import load_strictly
from lipsync_cli.nn.whisper import WhisperSizes, create_whisper, whisper_tensors
from tests.helpers.narrow_latentsync import openai_whisper

SIZES = WhisperSizes(width=8, layers=2, heads=2, feed_forward=16, positions=12)


def make_encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    encoder = create_whisper(SIZES).eval().requires_grad_(False)
    for parameter in encoder.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return encoder


def test_the_spectrogram_is_whispers():
    from transformers import WhisperFeatureExtractor

    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    samples[6000:9000] *= 0.001
    mel = log_mel(torch.from_numpy(samples))
    assert mel.shape == (80, 100)
    expected = WhisperFeatureExtractor()(samples, sampling_rate=16_000, truncation=False, padding="longest")
    own = normalised(mel, float(mel.max())).numpy()
    np.testing.assert_allclose(own, expected.input_features[0][:, :100], atol=1e-5)


def test_the_bank_is_whispers():
    from transformers import WhisperFeatureExtractor

    np.testing.assert_allclose(_bank(), WhisperFeatureExtractor().mel_filters.T, atol=4e-9)


def reference_activations(w: dict[str, torch.Tensor], mel: torch.Tensor) -> torch.Tensor:
    """Whisper's encoder over OpenAI's names ``[n layers+1 d]``; keys have no bias, the last norm is left out."""

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    x = F.gelu(F.conv1d(mel[None], w["encoder.conv1.weight"], w["encoder.conv1.bias"], padding=1))
    x = F.gelu(F.conv1d(x, w["encoder.conv2.weight"], w["encoder.conv2.bias"], stride=2, padding=1))
    x = x[0].T + w["encoder.positional_embedding"]
    states = [x]
    for i in range(SIZES.layers):
        block = f"encoder.blocks.{i}"
        h = norm(f"{block}.attn_ln", x)
        q, k, v = (linear(f"{block}.attn.{s}", h).unflatten(-1, (SIZES.heads, -1)).transpose(0, 1)
                   for s in ("query", "key", "value"))  # fmt: skip
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
        x = x + linear(f"{block}.attn.out", (weights @ v).transpose(0, 1).flatten(1))
        x = x + linear(f"{block}.mlp.2", F.gelu(linear(f"{block}.mlp.0", norm(f"{block}.mlp_ln", x))))
        states.append(x)
    return torch.stack(states, 1)


def test_the_activations_are_those_of_every_layer_before_the_last_norm():
    encoder, mel = make_encoder(), torch.randn(80, 14, generator=torch.Generator().manual_seed(1))
    activations = WhisperActivations(encoder)(mel)
    padded = torch.cat([mel, torch.zeros(80, 10)], 1)  # zeros, not the level of silence
    expected = reference_activations(openai_whisper(encoder), padded)[:7]
    assert activations.shape == (7, 3, 8)
    torch.testing.assert_close(activations, expected, atol=1e-5, rtol=1e-5)
    # transformers' own last hidden state is another thing.
    last = encoder(padded[None], output_hidden_states=True).last_hidden_state[0, :7]
    assert (last - activations[:, -1]).abs().max() > 0.1


@pytest.mark.parametrize("layout", ["openai", "transformers", "encoder alone"])
def test_both_layouts_of_the_file_give_the_same_network(tmp_path, layout):
    encoder = make_encoder()
    other = {"decoder.token_embedding.weight": torch.zeros(3)}
    path = tmp_path / ("model.safetensors" if layout == "transformers" else "tiny.pt")
    if layout == "openai":
        halves = {key: value.half() for key, value in openai_whisper(encoder).items()}
        torch.save({"dims": {"n_mels": 80}, "model_state_dict": {**halves, **other}}, path)
    elif layout == "transformers":
        theirs = {f"model.encoder.{key}": value for key, value in encoder.state_dict().items()}
        save_file({**theirs, "model.decoder.x": torch.zeros(3), "proj_out.weight": torch.zeros(3)}, path)
    else:
        torch.save({f"encoder.{key}": value for key, value in encoder.state_dict().items()}, path)
    loaded = load_strictly(lambda: create_whisper(SIZES), path, rename=whisper_tensors)
    for key, value in encoder.state_dict().items():
        assert loaded.state_dict()[key].dtype == torch.float32
        torch.testing.assert_close(loaded.state_dict()[key], value, atol=2e-3, rtol=2e-3)


def test_tiny_has_the_published_tensors_and_another_size_is_refused(tmp_path):
    with torch.device("meta"):
        tiny = create_whisper(WhisperSizes())
    assert len(tiny.state_dict()) == 67
    assert sum(value.numel() for value in tiny.state_dict().values()) == 8_208_384
    assert tiny.state_dict()["embed_positions.weight"].shape == (1500, 384)
    torch.save(openai_whisper(make_encoder()), tmp_path / "small.pt")
    with pytest.raises(ModelError, match="of another shape"):
        load_strictly(lambda: create_whisper(WhisperSizes()), tmp_path / "small.pt", rename=whisper_tensors)


def test_a_frame_hears_ten_positions_around_its_own_in_the_order_of_time():
    activations = torch.arange(300.0)[:, None, None] + torch.tensor([0.0, 0.5])[:, None]
    tokens = frame_tokens(activations, torch.tensor([0, 2, 100, 149]))
    assert tokens.shape == (4, 20, 1)
    heard = tokens[:, ::2, 0].tolist()
    assert heard == [
        [0, 0, 0, 0, 0, 1, 2, 3, 4, 5], list(range(10)), list(range(196, 206)),
        [*range(294, 300), *[299] * 4],
    ]  # fmt: skip
    assert torch.equal(tokens[:, 1::2], tokens[:, ::2] + 0.5)
