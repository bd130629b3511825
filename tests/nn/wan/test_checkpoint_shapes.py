"""The true sizes on the meta device against the published key table, parameter counts and file size."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.engines.lip_forcing.nn.transformer import LipForcingTransformer
from lipsync_cli.nn.wan.config import LARGE, SMALL


def published_table(d: int, f: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a merged Lip Forcing checkpoint, written from its documentation."""
    shapes: dict[str, tuple[int, ...]] = {"patch_embedding.weight": (d, 65, 1, 2, 2), "patch_embedding.bias": (d,)}

    def linear(name: str, out: int, into: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into), (out,)

    linear("text_embedding.0", d, 4096)
    linear("text_embedding.2", d, d)
    linear("time_embedding.0", d, 256)
    linear("time_embedding.2", d, d)
    linear("time_projection.1", 6 * d, d)
    for n in range(layers):
        for attention in ("self_attn", "cross_attn"):
            for side in "qkvo":
                linear(f"blocks.{n}.{attention}.{side}", d, d)
            for side in "qk":
                shapes[f"blocks.{n}.{attention}.norm_{side}.weight"] = (d,)
        shapes[f"blocks.{n}.norm3.weight"] = shapes[f"blocks.{n}.norm3.bias"] = (d,)
        linear(f"blocks.{n}.ffn.0", f, d)
        linear(f"blocks.{n}.ffn.2", d, f)
        shapes[f"blocks.{n}.modulation"] = (1, 6, d)
    linear("head.head", 64, d)
    shapes["head.modulation"] = (1, 2, d)
    linear("audio_proj.proj", 32, 43008)
    shapes["audio_proj.norm_out.weight"] = shapes["audio_proj.norm_out.bias"] = (32,)
    for i in range(layers // 2 - 1):
        linear(f"audio_cond_projs.{i}", d, 32)
    return shapes


SIZES = [(SMALL, 857, 1_421_383_840), (LARGE, 1137, 14_294_081_696)]


@pytest.mark.parametrize(("config", "tensors", "parameters"), SIZES, ids=["1.3b", "14b"])
def test_keys_and_shapes_are_the_published_ones(config, tensors, parameters):
    with torch.device("meta"):
        network = LipForcingTransformer(config)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes == published_table(config.width, config.feed_forward, config.layers)
    assert len(shapes) == tensors
    assert sum(value.numel() for value in network.state_dict().values()) == parameters


def test_the_published_file_is_those_tensors_in_bfloat16():
    """28,588,528,943 bytes: two for each parameter and some 320 of zip headers for each tensor."""
    overhead = 28_588_528_943 - 2 * 14_294_081_696
    assert 200 < overhead / 1137 < 450


def test_speech_enters_from_the_third_block_to_the_middle_one():
    assert list(SMALL.audio_layers) == list(range(2, 16))
    assert list(LARGE.audio_layers) == list(range(2, 21))
