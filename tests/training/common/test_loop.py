"""The loop of every stage: logs, saves, averages, resumes to the bit, and ends at a deadline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from lipsync_cli.training.common.loop import (
    Pace,
    Stage,
    descend,
    descend_accumulated,
    is_done,
    learning_rate,
    run_stage,
    steps_made,
    with_weights,
)
from tests.helpers.weights import Weights, assert_same, stop_training, weights_of


class Line:
    """A linear layer that learns y = 2x, with an optimiser that has a state."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(1, 1)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=0.1)

    def advance(self, step: int) -> dict[str, torch.Tensor]:
        x = torch.randn(8, 1, generator=torch.Generator().manual_seed(step))
        loss = (self.network(x) - 2 * x).pow(2).mean()
        descend(self.optimiser, loss, 0.1)
        return {"loss": loss.detach()}

    def run(self, folder: Path, pace: Pace, **more) -> nn.Linear:
        networks, optimisers = {"line": self.network}, {"line": self.optimiser}
        return run_stage(folder, networks, optimisers, self.advance, pace, result=self.network, **more)


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_run_stage_returns_averaged_weights_in_evaluation_mode(tmp_path: Path) -> None:
    line = Line()
    line.network.train()
    averaged = line.run(tmp_path, Pace(20, average=0.9))
    assert averaged is not line.network and not averaged.training and line.network.training
    assert not torch.equal(averaged.weight, line.network.weight)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert_same(weights_of(averaged), state["average"])


def test_run_stage_without_an_average_returns_the_last_weights(tmp_path: Path) -> None:
    line = Line()
    assert_same(weights_of(line.run(tmp_path, Pace(5, average=0.0))), weights_of(line.network))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["average"] == {}


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_run_stage_resumes_to_the_bit(average: float, tmp_path: Path) -> None:
    pace = Pace(9, save_every=3, average=average)
    whole = Line().run(tmp_path / "whole", pace)
    with pytest.raises(KeyboardInterrupt):
        Line().run(tmp_path / "parts", pace, on_save=stop_training)
    assert steps_made(tmp_path / "parts") == 3 and not is_done(tmp_path / "parts", 9)
    assert_same(weights_of(whole), weights_of(Line().run(tmp_path / "parts", pace)))
    assert is_done(tmp_path / "parts", 9)


def test_run_stage_gives_on_save_the_weights_of_each_save(tmp_path: Path) -> None:
    saved: list[tuple[int, Weights]] = []
    final = Line().run(
        tmp_path, Pace(6, save_every=2), on_save=lambda line, step: saved.append((step, weights_of(line)))
    )
    assert [step for step, _ in saved] == [2, 4, 6]
    assert_same(saved[-1][1], weights_of(final))
    assert not torch.equal(saved[0][1]["weight"], saved[1][1]["weight"])


def test_run_stage_of_two_networks_averages_its_result_alone(tmp_path: Path) -> None:
    line, other = Line(), nn.Linear(2, 2)
    networks = {"other": other, "line": line.network}
    run_stage(tmp_path, networks, {}, line.advance, Pace(2), result=line.network)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["modules"].keys() == {"other", "line"}
    assert state["average"]["weight"].shape == line.network.weight.shape


def test_stage_logs_the_first_step_and_every_so_many(tmp_path: Path) -> None:
    Line().run(tmp_path, Pace(10, log_every=4))
    assert [row["step"] for row in rows(tmp_path)] == [0, 3, 7]
    assert set(rows(tmp_path)[0]) == {"step", "s", "loss"}


def test_stage_ends_at_its_deadline_and_goes_on_later(tmp_path: Path) -> None:
    Line().run(tmp_path, Pace(5, deadline=0.0))
    assert steps_made(tmp_path) == 0
    Line().run(tmp_path, Pace(5))
    assert steps_made(tmp_path) == 5
    Line().run(tmp_path, Pace(5))
    assert [row["step"] for row in rows(tmp_path)] == [0], "a finished stage makes no further step"


def test_stage_that_is_saved_leaves_no_partial_file(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"n": nn.Linear(1, 1)}, {}, averaged=None)
    stage.save()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_steps_made_in_a_folder_without_a_checkpoint_are_none(tmp_path: Path) -> None:
    assert steps_made(tmp_path) == 0 and not is_done(tmp_path, 1)


def test_with_weights_copies_and_leaves_the_original(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    before = weights_of(module)
    other = with_weights(module, {key: value + 1 for key, value in before.items()})
    assert_same(weights_of(module), before)
    assert not torch.equal(other.weight, module.weight)


def test_descend_accumulated_is_descend_on_the_sum() -> None:
    losses = []
    for parts in (1, 4):
        torch.manual_seed(0)
        network = nn.Linear(3, 1)
        optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
        made = (network(part).pow(2).sum() for part in x.chunk(parts))
        norm = descend_accumulated(optimiser, made, 0.01, clip=1e9)
        losses.append((norm, weights_of(network)))
    torch.testing.assert_close(losses[0][0], losses[1][0])
    torch.testing.assert_close(losses[0][1], losses[1][1])


def test_learning_rate_warms_up_holds_and_decays() -> None:
    rates = [learning_rate(step, 300, peak=2.0, warmup=10) for step in range(300)]
    assert rates[0] == pytest.approx(0.2) and rates[10] == rates[199] == 2.0
    assert rates[-1] == pytest.approx(0.1) and rates[200:] == sorted(rates[200:], reverse=True)
    assert learning_rate(0, 300, peak=2.0, warmup=0) == 2.0
