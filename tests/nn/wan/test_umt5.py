"""The text context: original key names, zero rows beyond the prompt, float32 arithmetic on half weights."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.core.errors import ModelError
from lipsync_cli.nn.wan.umt5 import (
    TextSizes,
    clean_prompt,
    create_umt5,
    encode_tokens,
    tokenize,
    umt5_tensors,
)

SIZES = TextSizes(width=64, feed_forward=96, layers=2, heads=1, vocabulary=50)


def original_shapes(sizes: TextSizes) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the original encoder file, from its layout."""
    inner = sizes.heads * 64
    shapes: dict[str, tuple[int, ...]] = {"token_embedding.weight": (sizes.vocabulary, sizes.width)}
    for n in range(sizes.layers):
        block = f"blocks.{n}."
        shapes |= {f"{block}norm{i}.weight": (sizes.width,) for i in (1, 2)}
        shapes |= {f"{block}attn.{side}.weight": (inner, sizes.width) for side in "qkv"}
        shapes[f"{block}attn.o.weight"] = (sizes.width, inner)
        shapes[f"{block}pos_embedding.embedding.weight"] = (32, sizes.heads)
        shapes |= {f"{block}ffn.{name}.weight": (sizes.feed_forward, sizes.width) for name in ("gate.0", "fc1")}
        shapes[f"{block}ffn.fc2.weight"] = (sizes.width, sizes.feed_forward)
    return shapes | {"norm.weight": (sizes.width,)}


def test_the_original_file_is_the_full_encoder():
    shapes = original_shapes(TextSizes())
    with torch.device("meta"):
        renamed = umt5_tensors({key: torch.zeros(shape) for key, shape in shapes.items()})
        full = create_umt5(TextSizes()).state_dict()
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in full.items()}
    count = sum(torch.Size(shape).numel() for shape in shapes.values())
    assert 0 < 11_361_920_418 - 2 * count < 450 * len(shapes)


def test_rows_beyond_the_prompt_are_zero_and_half_weights_compute_in_float32():
    torch.manual_seed(0)
    network = create_umt5(SIZES).eval()
    half = create_umt5(SIZES).eval().to(torch.bfloat16)
    half.load_state_dict(network.state_dict())
    widened = create_umt5(SIZES).eval()
    widened.load_state_dict(half.state_dict())
    context = encode_tokens(half, [4, 7, 1], 8)
    assert context.shape == (1, 8, 64) and context.dtype == torch.float32
    assert not context[:, 3:].any() and context[:, :3].std() > 0.1
    ids, mask = torch.tensor([[4, 7, 1, 0, 0, 0, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        padded = widened(ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(context[:, :3], padded[:, :3], atol=1e-5, rtol=0)
    assert half.encoder.block[0].layer[0].SelfAttention.q.weight.dtype == torch.bfloat16


def test_prompts_are_cleaned():
    assert clean_prompt("  a&amp;amp;b \n person ") == "a&b person"


def test_a_tokenizer_is_a_file_with_one(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"a": 3, "person": 4, "talking": 5, "[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert tokenize("a  person talking", tmp_path / "tokenizer.json") == [3, 4, 5]
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ModelError, match="no readable tokenizer"):
        tokenize("a", tmp_path / "broken.json")
