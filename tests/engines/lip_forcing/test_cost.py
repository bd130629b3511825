"""Operation counts of the true sizes against the published ones, written out independently."""

from __future__ import annotations

import pytest

from lipsync_cli import hub
from lipsync_cli.engines.lip_forcing.config import read_config
from lipsync_cli.engines.lip_forcing.cost import model_cost, transformer_flops, transformer_parameters
from tests.helpers.narrow_lip_forcing import CONFIG


def by_hand(d: int, f: int, layers: int, queries: int = 3072, keys: int = 7168, text: int = 512) -> float:
    """Two operations for each weight and token, and attention; text keys and values are computed once per stream."""
    weights = (4 + 2) * d * d + 2 * d * f
    attention = 2 * 2 * (keys + text) * d
    return layers * queries * (2 * weights + attention)


@pytest.mark.parametrize(
    ("name", "published", "sizes", "parameters"),
    [
        ("lip-forcing-1.3b", 12.0e12, (1536, 8960, 30), 1_421_383_840),
        ("lip-forcing-14b", 92.8e12, (5120, 13824, 40), 14_294_081_696),
    ],
)
def test_a_steady_pass_costs_what_is_published_and_what_can_be_worked_out(name, published, sizes, parameters):
    config = read_config(hub.load_card(name).generator, model=name)
    once = transformer_flops(config)
    assert once == pytest.approx(published, rel=0.02)
    assert once == pytest.approx(by_hand(*sizes), rel=0.01)
    assert transformer_parameters(config) == parameters


@pytest.fixture(scope="module")
def costs():
    return {cost.stage: cost for cost in model_cost(CONFIG).stages}


def test_three_passes_make_a_chunk_and_the_first_costs_less(costs):
    assert list(costs) == ["speech", "encode", "transformer", "decode"]
    assert costs["transformer"].flops == 3 * transformer_flops(CONFIG)
    first = {cost.stage: cost for cost in model_cost(CONFIG).first}
    assert all(first[stage].flops < costs[stage].flops for stage in ("speech", "encode", "transformer"))
    # All weights are read once a pass, all keys and values of the window with them.
    held = model_cost(CONFIG).memory
    assert costs["transformer"].bytes == 3 * (held["transformer weights"] + held["keys and values"])
    assert held["keys and values"] == 2 * 2 * 4 * 7 * 4 * 24


def test_the_forecast_is_a_lower_bound(costs):
    cost = model_cost(CONFIG)
    at_best = cost.forecast(4e9, 3e12)
    assert sum(at_best.seconds.values()) >= sum(cost.flops for cost in costs.values()) / 4e9
    assert at_best.fps == pytest.approx(12 / sum(at_best.seconds.values()))
    assert cost.forecast(8e9, 6e12).fps == pytest.approx(2 * at_best.fps)
    assert cost.forecast(4e30, 1e6).seconds["decode"] == pytest.approx(costs["decode"].bytes / 1e6)


@pytest.mark.slow
def test_the_tiny_encoder_costs_a_fraction_of_the_full_one(costs):
    wide = CONFIG.model_copy(update={"vae_width": 96, "taew_width": 64})
    full = {cost.stage: cost for cost in model_cost(wide).stages}
    tiny = {cost.stage: cost for cost in model_cost(wide.model_copy(update={"encoder": "taew"})).stages}
    assert tiny["encode"].flops < full["encode"].flops / 10
