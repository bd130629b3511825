"""The transformer: parity with diffusers' Wan, the cached stream against an uncached pass, causality."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.engines.lip_forcing.nn.window import chunk_view
from lipsync_cli.nn.wan.config import TransformerConfig
from tests.helpers.narrow_transformer import (
    CONFIG,
    SIZE,
    make_condition,
    make_latents,
    make_text,
    make_transformer,
    part,
)

WAN_NAMES = {
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "self_attn.o": "attn1.to_out.0",
    "cross_attn.o": "attn2.to_out.0",
    "self_attn.norm_": "attn1.norm_",
    "cross_attn.norm_": "attn2.norm_",
    "self_attn.": "attn1.to_",
    "cross_attn.": "attn2.to_",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
    "modulation": "scale_shift_table",
}


def wan_key(key: str) -> str:
    for ours, theirs in WAN_NAMES.items():
        if ours in key:
            return key.replace(ours, theirs)
    return key


@pytest.fixture(scope="module")
def wan():
    """diffusers' Wan and ours on one set of random weights, without speech."""
    from diffusers import WanTransformer3DModel

    ours = make_transformer()
    with torch.no_grad():
        for layer in ours.audio_cond_projs:
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    theirs = WanTransformer3DModel(
        num_attention_heads=CONFIG.heads, attention_head_dim=CONFIG.head_width, in_channels=65, out_channels=16,
        text_dim=CONFIG.text_width, freq_dim=2 * CONFIG.time_frequencies, ffn_dim=CONFIG.feed_forward,
        num_layers=CONFIG.layers, rope_max_seq_len=32,
    ).eval()  # fmt: skip
    shared = {key: value for key, value in ours.state_dict().items() if not key.startswith("audio_")}
    theirs.load_state_dict({wan_key(key): value for key, value in shared.items()}, strict=True)
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize("t", [0.999, 0.769, 0.0])
def test_a_bidirectional_pass_is_diffusers_wan(wan, t):
    ours, theirs = wan
    x, condition, text = make_latents(3, batch=2), make_condition(3, batch=2), make_text(batch=2)
    mine = ours(x, torch.full((2, 3), t), condition, text)
    joined = torch.cat([x, condition.visual], 2).transpose(1, 2)
    other = theirs(joined, torch.full((2,), 1000 * t), text, return_dict=False)[0].transpose(1, 2)
    assert float(other.std()) > 0.1
    torch.testing.assert_close(mine, other, atol=2e-5, rtol=0)


@torch.no_grad()
def test_in_bfloat16_it_stays_within_the_rounding_of_diffusers_wan(wan):
    """Both precisions of the modulation lie within a few bfloat16 steps (2⁻⁸) of the float32 result."""
    ours, _ = wan
    x, condition, text, t = make_latents(3), make_condition(3), make_text(), torch.full((1, 3), 0.769)
    exact = ours(x, t, condition, text)
    for wide in (True, False):
        half = make_transformer(wide_modulation=wide)
        half.load_state_dict(ours.state_dict())
        rounded = half.to(torch.bfloat16)(x, t, condition, text).float()
        error = (rounded - exact).abs().max() / exact.abs().max()
        assert 1e-4 < float(error) < 0.03, wide


def stream(network, x, noisy, condition, text, t=0.769):
    """Velocities of every chunk at time t, each after the clean chunks before it."""
    cache = network.begin(text, SIZE)
    out = []
    for first in range(0, x.shape[1], CONFIG.chunk):
        own = slice(first, first + CONFIG.chunk)
        here = part(condition, own)
        out.append(network.predict(noisy[:, own], torch.full((x.shape[0], CONFIG.chunk), t), here, cache))
        network.commit(x[:, own], here, cache)
    return torch.cat(out, 1), cache


@torch.no_grad()
def test_the_cached_stream_is_an_uncached_pass_over_what_each_chunk_sees():
    """Six chunks roll the window over more than once; every chunk is compared with a pass over the sequence whose
    last chunk alone is noisy."""
    network, frames = make_transformer(), 18
    x, noisy, condition, text = make_latents(frames), make_latents(frames, 9), make_condition(frames), make_text()
    cached, _ = stream(network, x, noisy, condition, text)
    for first in range(0, frames, 3):
        end = first + 3
        mixed = torch.cat([x[:, :first], noisy[:, first:end]], 1)
        t = torch.cat([torch.zeros(1, first), torch.full((1, 3), 0.769)], 1)
        whole = network(mixed, t, part(condition, slice(0, end)), text, views="stream")
        torch.testing.assert_close(cached[:, first:end], whole[:, first:], atol=2e-5, rtol=0)


@torch.no_grad()
def test_with_a_window_over_everything_it_is_block_causal_at_absolute_positions():
    config = TransformerConfig(
        width=48, feed_forward=80, layers=6, heads=2, text_width=20, audio_features=10, audio_width=8,
        time_frequencies=16, window=13,
    )  # fmt: skip
    network = make_transformer(config)
    x, noisy, condition, text = make_latents(9), make_latents(9, 9), make_condition(9), make_text()
    cached, _ = stream(network, x, noisy, condition, text)
    mixed = torch.cat([x[:, :6], noisy[:, 6:]], 1)
    t = torch.tensor([[0.0] * 6 + [0.769] * 3])
    torch.testing.assert_close(cached[:, 6:], network(mixed, t, condition, text, views="causal")[:, 6:], atol=2e-5,
                               rtol=0)  # fmt: skip
    masked = masked_pass(network, mixed, t, condition, text)
    torch.testing.assert_close(cached[:, 6:], masked[:, 6:], atol=2e-5, rtol=0)


def masked_pass(network, x, t, condition, text):
    """A full pass in which an explicit block mask, not a choice of keys, hides later chunks."""
    from lipsync_cli.engines.lip_forcing.nn import transformer as module

    frames, tokens = x.shape[1], SIZE[0] * SIZE[1] // 4
    chunk = torch.arange(frames).repeat_interleave(tokens) // CONFIG.chunk
    mask = chunk[:, None] >= chunk[None, :]
    plain = module.attention

    def masked(q, k, v):
        out = torch.nn.functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
        )
        return out.transpose(1, 2)

    module.attention = masked
    try:
        return network(x, t, condition, text, views="full")
    finally:
        module.attention = plain


@torch.no_grad()
def test_later_chunks_change_nothing_before_them():
    network = make_transformer()
    x, noisy, condition, text = make_latents(12), make_latents(12, 9), make_condition(12), make_text()
    before, _ = stream(network, x, noisy, condition, text)
    longer = make_condition(12, seed=77)
    changed = type(condition)(
        torch.cat([condition.visual[:, :6], longer.visual[:, 6:]], 1),
        torch.cat([condition.speech[:, :6], longer.speech[:, 6:]], 1),
    )
    after, _ = stream(network, x, noisy, changed, text)
    assert torch.equal(before[:, :6], after[:, :6])
    assert float((before[:, 6:] - after[:, 6:]).abs().max()) > 1e-3


@torch.no_grad()
def test_speech_time_text_and_every_picture_channel_matter():
    network = make_transformer()
    x, condition, text, t = make_latents(3), make_condition(3), make_text(), torch.full((1, 3), 0.5)
    base = network(x, t, condition, text)
    others = [
        network(x, t, type(condition)(condition.visual, condition.speech + 1), text),
        network(x, t - 0.2, condition, text),
        network(x, t, condition, text + 1),
        *(network(x, t, type(condition)(condition.visual + bump(c), condition.speech), text) for c in range(49)),
    ]
    assert all(float((other - base).abs().max()) > 1e-4 for other in others)


def bump(channel: int) -> torch.Tensor:
    change = torch.zeros(1, 1, 49, 1, 1)
    change[:, :, channel] = 1
    return change


@torch.no_grad()
def test_memory_of_a_stream_does_not_grow_and_no_unwritten_slot_is_read():
    """Unwritten slots are NaN, so that reading one would spoil the result."""
    network, text = make_transformer(), make_text()
    cache = network.begin(text, SIZE)
    size, pointers = cache.nbytes, [ring.data_ptr() for ring in cache.keys]
    assert size == 2 * CONFIG.layers * CONFIG.window * 6 * CONFIG.width * 4
    for _ in range(30):
        x, condition = make_latents(3), make_condition(3)
        assert network.predict(x, torch.full((1, 3), 0.999), condition, cache).isfinite().all()
        network.commit(x, condition, cache)
    assert (cache.nbytes, [ring.data_ptr() for ring in cache.keys]) == (size, pointers)
    assert cache.frames == 90


def test_predicting_twice_does_not_disturb_the_past():
    network, text = make_transformer(), make_text()
    x, condition = make_latents(9), make_condition(9)
    with torch.no_grad():
        _, cache = stream(network, x, x, condition, text)
        tail = part(condition, slice(0, 3))
        first = network.predict(x[:, :3], torch.full((1, 3), 0.769), tail, cache)
        network.predict(5 * x[:, 3:6], torch.full((1, 3), 0.999), tail, cache)
        assert torch.equal(first, network.predict(x[:, :3], torch.full((1, 3), 0.769), tail, cache))


def test_gradients_flow_through_a_step_and_leave_the_past_alone():
    network, text = make_transformer(), make_text()
    x, condition = make_latents(9), make_condition(9)
    with torch.no_grad():
        _, cache = stream(network, x, x, condition, text)
        past = [ring.clone() for ring in cache.keys]
        expected = network.predict(x[:, :3], torch.full((1, 3), 0.5), part(condition, slice(0, 3)), cache)
        for ring, saved in zip(cache.keys, past, strict=True):
            ring.copy_(saved)
    out = network.predict(x[:, :3], torch.full((1, 3), 0.5), part(condition, slice(0, 3)), cache)
    assert all(torch.equal(ring, saved) for ring, saved in zip(cache.keys, past, strict=True))
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    out.square().mean().backward()
    grads = [parameter.grad for parameter in network.parameters()]
    used = [grad for grad in grads if grad is not None and float(grad.abs().max()) > 0]
    # Only the text embedding and the cross-attention keys and values, computed once per stream, carry none.
    assert len(used) == len(grads) - 4 - 5 * CONFIG.layers


@pytest.mark.parametrize(
    ("chunk", "frames", "positions", "queries"),
    [
        (0, {0, 1, 2}, {0, 1, 2}, (0, 1, 2)),
        (1, set(range(6)), set(range(6)), (3, 4, 5)),
        (2, {0, 3, 4, 5, 6, 7, 8}, set(range(7)), (4, 5, 6)),
        (3, {0, 6, 7, 8, 9, 10, 11}, set(range(7)), (4, 5, 6)),
        (100, {0, *range(297, 303)}, set(range(7)), (4, 5, 6)),
    ],
)
def test_the_published_trace_of_the_window(chunk, frames, positions, queries):
    view = chunk_view(3 * chunk, 3, 7, 1)
    assert (set(view.frames), set(view.positions), view.query_positions) == (frames, positions, queries)
    # A frame's position follows its order in time, wherever in the ring it lies.
    assert [view.positions[view.frames.index(frame)] for frame in sorted(view.frames)] == sorted(positions)
    assert [view.frames[slot] for slot in view.slots] == list(range(3 * chunk, 3 * chunk + 3))


def test_the_ring_holds_what_the_paper_says():
    """5.87 GB for the 14B and 1.32 GB for the 1.3B at 512 × 512 in bfloat16."""
    from lipsync_cli.nn.wan.config import LARGE, SMALL

    sizes = [2 * c.layers * c.window * 1024 * c.width * 2 / 1e9 for c in (LARGE, SMALL)]
    assert sizes == pytest.approx([5.87, 1.32], abs=0.005)
