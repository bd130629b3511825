"""The fast paths give what the plain ones do: compiled parts, eight-bit linear layers."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
import torch._dynamo
from torch import nn

from lipsync_cli.engines.lip_forcing.nn.cuda_graph import as_it_is
from lipsync_cli.engines.lip_forcing.nn.float8 import Float8Linear, quantise_rows, use_float8
from tests.helpers.narrow_transformer import (
    CONFIG,
    SIZE,
    make_condition,
    make_latents,
    make_text,
    make_transformer,
    part,
)


def velocities(network, chunks: int = 4) -> torch.Tensor:
    x, condition = make_latents(3 * chunks), make_condition(3 * chunks)
    cache, out = network.begin(make_text(), SIZE), []
    for first in range(0, 3 * chunks, 3):
        own = slice(first, first + 3)
        out.append(network.predict(x[:, own], torch.full((1, 3), 0.769), part(condition, own), cache))
        network.commit(x[:, own], part(condition, own), cache)
    return torch.cat(out, 1)


@torch.no_grad()
def test_compiled_parts_give_the_same_and_are_compiled_for_three_views_only():
    config = replace(CONFIG, layers=4)
    plain, network = make_transformer(config), make_transformer(config)
    network.compile_parts(backend="aot_eager")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    velocities(network, chunks=3)
    # One graph for each part whatever the number of layers, and rotary positions for queries and three key lengths.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 6
    with torch.compiler.set_stance("fail_on_recompile"):
        torch.testing.assert_close(velocities(network, chunks=4), velocities(plain, chunks=4), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@torch.no_grad()
def test_what_the_compiler_makes_of_it_is_the_same():
    """torch's default compiler, recorded passes on top of it, as on a GPU."""
    config = replace(CONFIG, layers=4)
    plain, network = make_transformer(config), make_transformer(config)
    torch._dynamo.reset()
    network.compile_parts()
    network.record_steady(as_it_is)
    torch.testing.assert_close(velocities(network, chunks=4), velocities(plain, chunks=4), atol=1e-4, rtol=0)


def test_rows_are_scaled_to_the_largest_value_of_the_format():
    x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [1e4, 1.0, -1e4]])
    rows, scale = quantise_rows(x)
    assert rows.dtype == torch.float8_e4m3fn
    torch.testing.assert_close(rows.float().abs().amax(-1), torch.tensor([448.0, 0.0, 448.0]))
    # Three bits of mantissa: no value is off by more than a sixteenth of itself, or of the format's smallest.
    error = (rows.float() * scale - x).abs()
    assert (error <= x.abs() / 16 + scale * 2**-10).all()


@torch.no_grad()
def test_an_eight_bit_layer_is_the_layer_within_its_rounding():
    torch.manual_seed(0)
    linear, x = nn.Linear(256, 64), torch.randn(3, 5, 256)
    quantised = Float8Linear(linear)
    exact, rounded = linear(x), quantised(x)
    assert rounded.shape == exact.shape
    assert 0.005 < float((rounded - exact).norm() / exact.norm()) < 0.05
    # Values that the format holds exactly lose nothing.
    linear.weight.copy_(torch.randint(-7, 8, (64, 256)))
    linear.weight[:, 0] = 7
    small = torch.randint(-7, 8, (4, 256)).float()
    small[:, 0] = 7
    torch.testing.assert_close(Float8Linear(linear)(small), linear(small), atol=2e-3, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_a_network_of_eight_bit_layers_stays_near_the_plain_one(dtype):
    plain, network = make_transformer().to(dtype), make_transformer().to(dtype)
    assert use_float8(network) == CONFIG.layers * 10
    exact, rounded = velocities(plain).float(), velocities(network).float()
    assert rounded.isfinite().all()
    assert 1e-4 < float((rounded - exact).norm() / exact.norm()) < 0.1
    assert network.blocks[0].ffn[0].weight.dtype == torch.float8_e4m3fn
