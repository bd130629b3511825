"""The tiny autoencoder: the published parameter count and key names, streaming against an independent walk."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lipsync_cli.nn.wan.taew import Memory, Taew, TaewState, TimeGrow, TimePool


@pytest.fixture(scope="module")
def taew() -> Taew:
    torch.manual_seed(0)
    return Taew(width=8).eval()


def test_it_has_the_published_parameters_and_keys():
    """11,315,539 in half precision are the 22,678,901 bytes of the file, less its headers."""
    with torch.device("meta"):
        full = Taew().state_dict()
    assert sum(value.numel() for value in full.values()) == 11_315_539
    assert 0 < 22_678_901 - 2 * 11_315_539 < 400 * len(full)
    shapes = {key: tuple(value.shape) for key, value in full.items()}
    assert shapes["decoder.7.conv.weight"] == (256, 256, 1, 1)
    assert shapes["decoder.13.conv.weight"] == (256, 128, 1, 1)
    assert shapes["encoder.2.conv.weight"] == (64, 128, 1, 1)
    assert shapes["encoder.4.conv.0.weight"] == (64, 128, 3, 3)
    assert shapes["decoder.22.weight"] == (3, 64, 3, 3)
    assert "encoder.3.bias" not in shapes and "encoder.17.bias" in shapes and "decoder.20.bias" not in shapes


def step_by_step(layers, x: torch.Tensor) -> torch.Tensor:
    """The same layers walked one time step at a time with a queue, as the reference implementation can do it."""
    memory: dict[int, torch.Tensor] = {}
    pending: dict[int, list[torch.Tensor]] = {}
    out = []

    def push(index: int, frame: torch.Tensor) -> None:
        if index == len(layers):
            out.append(frame)
            return
        layer = layers[index]
        if isinstance(layer, Memory):
            before = memory.get(index, torch.zeros_like(frame))
            memory[index] = frame
            push(index + 1, layer(frame, before))
        elif isinstance(layer, TimePool):
            pending.setdefault(index, []).append(frame)
            if len(pending[index]) == layer.stride:
                push(index + 1, layer.conv(torch.cat(pending.pop(index), 1)))
        elif isinstance(layer, TimeGrow):
            for part in layer.conv(frame).chunk(layer.stride, 1):
                push(index + 1, part)
        else:
            push(index + 1, layer(frame))

    for t in range(x.shape[1]):
        push(0, x[:, t])
    return torch.stack(out, 1)


@torch.no_grad()
def test_decoding_is_the_step_by_step_walk_without_its_first_three_frames(taew):
    latents = torch.randn(2, 5, 16, 3, 4)
    whole = taew.decode(latents, TaewState())
    assert whole.shape == (2, 1 + 4 * 4, 3, 24, 32)
    walked = step_by_step(list(taew.decoder), latents).clamp(0, 1)
    torch.testing.assert_close(whole, walked[:, 3:], atol=1e-6, rtol=0)
    assert float(whole.std()) > 1e-3


@torch.no_grad()
def test_encoding_is_the_step_by_step_walk_with_the_first_frame_four_times(taew):
    frames = torch.rand(1, 9, 3, 16, 24)
    whole = taew.encode(frames, TaewState())
    padded = F.pad(frames.transpose(1, 2), (0, 0, 0, 0, 3, 0), mode="replicate").transpose(1, 2)
    torch.testing.assert_close(whole, step_by_step(list(taew.encoder), padded), atol=1e-6, rtol=0)
    assert whole.shape == (1, 3, 16, 2, 3)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
@torch.no_grad()
def test_any_split_of_a_stream_gives_the_same(sizes):
    torch.manual_seed(0)
    taew, count = Taew(width=8).eval(), sum(sizes)
    latents, frames = torch.randn(1, count, 16, 2, 2), torch.rand(1, 4 * count - 3, 3, 16, 16)
    decoding, encoding, decoded, encoded, first = TaewState(), TaewState(), [], [], 0
    for size in sizes:
        decoded.append(taew.decode(latents[:, first : first + size], decoding))
        begin, end = max(0, 4 * first - 3), 4 * (first + size) - 3
        encoded.append(taew.encode(frames[:, begin:end], encoding))
        first += size
    torch.testing.assert_close(torch.cat(decoded, 1), taew.decode(latents, TaewState()), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.cat(encoded, 1), taew.encode(frames, TaewState()), atol=1e-6, rtol=0)


@torch.no_grad()
def test_first_chunks_are_nine_frames_then_twelve(taew):
    state = TaewState()
    assert [taew.decode(torch.randn(1, 3, 16, 2, 2), state).shape[1] for _ in range(3)] == [9, 12, 12]


@torch.no_grad()
def test_frames_depend_on_no_later_latent(taew):
    latents = torch.randn(1, 6, 16, 2, 2)
    changed = latents.clone()
    changed[:, 3:] += 1
    before, after = taew.decode(latents, TaewState()), taew.decode(changed, TaewState())
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.equal(before[:, 9:], after[:, 9:])


def test_an_incomplete_group_of_frames_is_refused(taew):
    with pytest.raises(ValueError, match="groups of four"):
        taew.encode(torch.rand(1, 6, 3, 16, 16), TaewState())
