"""A pass with a full window is one fixed program on memory that stays where it is."""

from __future__ import annotations

import gc

import torch

from lipsync_cli.engines.lip_forcing.nn.cuda_graph import as_it_is
from lipsync_cli.engines.rollout import chunk_noise, roll_chunk
from lipsync_cli.nn.wan.config import LATENT_CHANNELS
from tests.helpers.narrow_transformer import (
    CONFIG,
    SIZE,
    make_condition,
    make_latents,
    make_text,
    make_transformer,
    part,
)


class Recorder:
    """Records nothing, but counts what it is given and how often that is run, and on which memory."""

    def __init__(self) -> None:
        self.programs = self.runs = 0

    def __call__(self, program):
        self.programs += 1
        for _ in range(2):  # a recording runs its program a few times before it counts
            program()

        def replay():
            self.runs += 1
            return program()

        return replay


def rollout(network, text, chunks=8, seed=4):
    frames = 3 * chunks
    condition, out = make_condition(frames, seed=seed), []
    cache = network.open_stream(text, SIZE)
    for first in range(0, frames, 3):
        noises = chunk_noise(seed, first, 3, (LATENT_CHANNELS, *SIZE), 2)
        own = part(condition, slice(first, first + 3))
        out.append(roll_chunk(network, cache, own, noises, (0.999, 0.769), first_scale=1.0))
    return torch.cat(out, 1), cache


@torch.inference_mode()
def test_recorded_passes_give_what_plain_ones_do_and_are_recorded_once():
    """Eight chunks, six of them steady, of three passes each, over two turns of the ring."""
    network, recorder = make_transformer(), Recorder()
    text = network.read_text(make_text())
    plain, _ = rollout(network, text)
    network.record_steady(recorder)
    recorded, cache = rollout(network, text)
    assert torch.equal(recorded, plain)
    assert (recorder.programs, recorder.runs) == (1, 6 * 3)
    assert cache.ring.steady is not None


@torch.inference_mode()
def test_the_next_stream_takes_over_memory_and_recording_but_nothing_of_the_past():
    network, recorder = make_transformer(), Recorder()
    text = network.read_text(make_text())
    expected = [rollout(network, text, seed=seed)[0] for seed in (4, 5)]
    network.record_steady(recorder)
    where = []
    for seed, wanted in zip((4, 5), expected, strict=True):
        got, cache = rollout(network, text, seed=seed)
        assert torch.equal(got, wanted)
        where.append(cache.keys[0].data_ptr())
        del cache
        gc.collect()
    assert where[0] == where[1] and recorder.programs == 1


@torch.inference_mode()
def test_streams_side_by_side_have_memory_of_their_own():
    network = make_transformer()
    text = network.read_text(make_text())
    network.record_steady(as_it_is)
    caches = [network.open_stream(text, SIZE) for _ in range(2)]
    assert caches[0].keys[0].data_ptr() != caches[1].keys[0].data_ptr()
    other = network.read_text(make_text(seed=8))
    del caches
    gc.collect()
    # A recording holds on to its text, so another text does not get it.
    assert network.open_stream(other, SIZE).text is other


@torch.inference_mode()
def test_the_ring_is_the_concatenation_of_what_is_seen():
    """Against a cache that keeps everything and concatenates: the same keys, values and positions, chunk by chunk."""
    network = make_transformer()
    cache = network.open_stream(network.read_text(make_text()), SIZE)
    torch.manual_seed(0)
    tokens, kept = SIZE[0] * SIZE[1] // 4, []
    before = [ring.data_ptr() for ring in (*cache.keys, *cache.values)]
    for first in range(0, 30, 3):
        own = torch.randn(1, 3, tokens, CONFIG.heads, CONFIG.head_width)
        kept.extend(own.unbind(1))
        place = cache.place(3)
        keys, values = cache.ring.with_chunk(2, own, -own, place)
        # The rule of the paper: the sink, then the last six frames, in the order of time.
        seen = [0, *range(max(1, first + 3 - 6), first + 3)] if first else [0, 1, 2]
        expected = torch.cat([kept[frame] for frame in seen], 1)
        order = in_time(first)
        assert torch.equal(keys.unflatten(1, (-1, tokens))[:, order].flatten(1, 2), expected)
        assert torch.equal(values, -keys)
        cache.advance(3)
    assert [ring.data_ptr() for ring in (*cache.keys, *cache.values)] == before


def in_time(first: int) -> list[int]:
    """Slots in the order of the positions their keys are given."""
    from lipsync_cli.engines.lip_forcing.nn.window import chunk_view

    positions = chunk_view(first, 3, CONFIG.window, CONFIG.sink).positions
    return sorted(range(len(positions)), key=positions.__getitem__)


@torch.inference_mode()
def test_nothing_is_allocated_for_the_past_once_the_window_is_full():
    network = make_transformer()
    text = network.read_text(make_text())
    x, condition = make_latents(3), make_condition(3)
    cache = network.open_stream(text, SIZE)
    for _ in range(3):
        network.commit(x, condition, cache)
    place = cache.place(3)
    keys, values = cache.ring.with_chunk(0, *(torch.zeros(1, 3, 6, CONFIG.heads, CONFIG.head_width),) * 2, place)
    assert keys.data_ptr() == cache.keys[0].data_ptr() and values.data_ptr() == cache.values[0].data_ptr()
