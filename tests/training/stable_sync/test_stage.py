"""StableSyncNet's stage: its loss, exact accumulation and resumption."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from lipsync_cli.training.common.loop import steps_made
from lipsync_cli.training.stable_sync.stage import (
    StableSyncRecipe,
    check_pairs,
    matching_loss,
    new_network,
    train_network,
)
from tests.helpers.stable_clips import TINY, made_clips

QUICK = StableSyncRecipe(steps=4, batch=4, at_once=3, learning_rate=1e-3, save_every=2, log_every=1, val_pairs=10)


def test_matching_loss_of_certainty_and_of_ignorance() -> None:
    matched = torch.tensor([1.0, 0.0])
    assert float(matching_loss(torch.tensor([0.5, 0.5]), matched)) == pytest.approx(math.log(2))
    assert float(matching_loss(torch.tensor([1.0, 0.0]), matched)) < 1e-5
    assert float(matching_loss(torch.tensor([0.8, 0.1]), matched)) == pytest.approx(
        -(math.log(0.8) + math.log(0.9)) / 2
    )
    # Rounding may carry a cosine beyond 1, and a wrong certainty is not infinitely wrong.
    worst = torch.tensor([0.0, 1.0 + 1e-6], requires_grad=True)
    matching_loss(worst, matched).backward()
    assert worst.grad is not None and worst.grad.isfinite().all()


def test_train_network_adds_up_the_gradient_of_the_batch(tmp_path: Path) -> None:
    clips = made_clips()
    found = []
    for at_once in (4, 3):
        recipe = StableSyncRecipe(steps=1, batch=4, at_once=at_once, learning_rate=1e-3)
        network = new_network(recipe, TINY)
        train_network(network, clips, recipe, tmp_path / str(at_once))
        found.append({key: value.grad for key, value in network.named_parameters()})
    for key, whole in found[0].items():
        torch.testing.assert_close(found[1][key], whole, rtol=1e-3, atol=1e-6)


def test_train_network_resumes_to_the_bit(tmp_path: Path) -> None:
    clips = made_clips()
    whole = train_network(new_network(QUICK, TINY), clips, QUICK, tmp_path / "whole").state_dict()
    half = QUICK.replaced(steps=2)
    train_network(new_network(half, TINY), clips, half, tmp_path / "parts")
    parts = train_network(new_network(QUICK, TINY), clips, QUICK, tmp_path / "parts").state_dict()
    assert steps_made(tmp_path / "whole") == steps_made(tmp_path / "parts") == 4
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    first = new_network(QUICK, TINY).state_dict()
    assert any(not torch.equal(value, whole[key]) for key, value in first.items())
    rows = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert all(row["loss"] > 0 and 0 <= row["accuracy"] <= 1 for row in rows)


@pytest.mark.slow
def test_train_network_learns_which_windows_match(tmp_path: Path) -> None:
    clips = made_clips(6)
    recipe = StableSyncRecipe(
        steps=90, batch=24, at_once=24, learning_rate=2e-3, apart=6, val_pairs=200, save_every=100
    )
    network = new_network(recipe, TINY)
    before = check_pairs(network, clips, recipe)
    train_network(network, clips, recipe, tmp_path)
    after = check_pairs(network, clips, recipe)
    assert before.accuracy < 0.6
    assert after.loss < 0.6 and after.accuracy > 0.7 and after.matched > after.unmatched + 0.1
