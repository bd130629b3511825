"""VideoMAE v2's encoder: the public files' keys and size, parity with transformers', its positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.core.errors import ModelError
from lipsync_cli.nn.video_mae import VideoMae, VideoMaeConfig, load_video_mae, sinusoid_positions

SMALL = VideoMaeConfig(width=24, depth=2, heads=3, hidden=40, patch=4, frames=4, size=12)


@pytest.fixture(scope="module")
def small() -> VideoMae:
    torch.manual_seed(0)
    network = VideoMae(SMALL).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def test_the_giant_has_the_public_size_and_names() -> None:
    with torch.device("meta"):
        network = VideoMae()
    assert network.config.tokens == 2048
    # 1011 M, as published; its head of 174 classes adds 245 166.
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_011_610_752
    state = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert len(state) == 2 + 40 * 13 + 2
    assert state["patch_embed.proj.weight"] == (1408, 3, 2, 14, 14)
    assert state["blocks.39.attn.qkv.weight"] == (4224, 1408)
    assert state["blocks.0.attn.q_bias"] == state["blocks.0.attn.v_bias"] == state["fc_norm.weight"] == (1408,)
    assert state["blocks.0.mlp.fc1.weight"] == (6144, 1408)
    assert not any("attn.qkv.bias" in key or key == "norm.weight" for key in state)


def test_it_agrees_with_transformers(small: VideoMae) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.VideoMAEConfig(
        image_size=12, patch_size=4, num_frames=4, tubelet_size=2, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=40, qkv_bias=True, use_mean_pooling=True, layer_norm_eps=1e-6,
    )  # fmt: skip
    theirs = transformers.VideoMAEModel(config).eval()
    wanted = set(theirs.state_dict())
    ours = small.state_dict()
    tensors = {f"embeddings.patch_embeddings.projection.{leaf}": ours[f"patch_embed.proj.{leaf}"] for leaf in BOTH}
    for i in range(2):
        block, layer = f"blocks.{i}.", f"encoder.layer.{i}."
        attention = f"{layer}attention.attention."
        parts = ours[f"{block}attn.qkv.weight"].chunk(3)
        tensors |= {f"{attention}{n}.weight": w for n, w in zip(("query", "key", "value"), parts, strict=True)}
        for name in ("q", "v"):
            # Older versions keep the biases beside the layers.
            beside, within = f"{attention}{name}_bias", f"{attention}{'query' if name == 'q' else 'value'}.bias"
            tensors[beside if beside in wanted else within] = ours[f"{block}attn.{name}_bias"]
        for their, our in LAYERS.items():
            tensors |= {f"{layer}{their}.{leaf}": ours[f"{block}{our}.{leaf}"] for leaf in BOTH}
    theirs.load_state_dict(tensors)
    clips = torch.rand(2, 3, 4, 12, 12)
    hidden = theirs(clips.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(small(clips), small.fc_norm(hidden.mean(1)), atol=1e-5, rtol=1e-5)


BOTH = ("weight", "bias")
LAYERS = {
    "layernorm_before": "norm1", "attention.output.dense": "attn.proj", "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2",
}  # fmt: skip


def test_positions_are_sines_and_cosines() -> None:
    table = sinusoid_positions(50, 6)[0].numpy()
    for place in (0, 7, 49):
        angles = [place, place / 10_000 ** (2 / 6), place / 10_000 ** (4 / 6)]
        expected = [f(angle) for angle in angles for f in (np.sin, np.cos)]
        np.testing.assert_allclose(table[place], expected, atol=1e-6)


def test_a_public_file_loads_without_its_head(small: VideoMae, tmp_path: Path) -> None:
    path = tmp_path / "vit.pth"
    head = {"head.weight": torch.zeros(174, 24), "head.bias": torch.zeros(174)}
    for wrapper in ("module", "model"):
        torch.save({wrapper: small.state_dict() | head, "epoch": 3}, path)
        loaded = load_video_mae(path, SMALL)
        clips = torch.rand(1, 3, 4, 12, 12)
        torch.testing.assert_close(loaded(clips), small(clips))
        assert not any(parameter.requires_grad for parameter in loaded.parameters())
    torch.save({"module": small.state_dict()}, path)
    with pytest.raises(ModelError, match="of another shape"):
        load_video_mae(path, VideoMaeConfig(width=24, depth=2, heads=3, hidden=48, patch=4, frames=4, size=12))
    with pytest.raises(ValueError, match=r"\[b 3 4 12 12\]"):
        small(torch.zeros(1, 3, 16, 12, 12))


def test_checkpointing_changes_no_gradient(small: VideoMae) -> None:
    clips = torch.rand(1, 3, 4, 12, 12, requires_grad=True)
    other = VideoMae(SMALL, checkpointing=True)
    other.load_state_dict(small.state_dict())
    (plain,) = torch.autograd.grad(small(clips).square().sum(), clips)
    (again,) = torch.autograd.grad(other(clips).square().sum(), clips)
    torch.testing.assert_close(again, plain)
