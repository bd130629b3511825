"""Batch normalisation over processes, as far as one process can see it; ``test_processes`` runs it in two."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("accelerate", reason="needs accelerate, of the train extra")

from lipsync_cli.training.common.synced_norm import SyncedBatchNorm, with_synced_norms


def test_with_synced_norms_replaces_every_norm_and_keeps_its_state() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), nn.BatchNorm2d(4))
    network(torch.rand(2, 3, 5, 5))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = torch.rand(2, 3, 5, 5)
    expected = network.eval()(x)
    synced = with_synced_norms(network)
    assert sum(isinstance(module, SyncedBatchNorm) for module in synced.modules()) == 2
    assert not any(isinstance(module, nn.BatchNorm2d) for module in synced.modules())
    assert synced.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in synced.state_dict().items())
    assert torch.equal(synced(x), expected)


def test_with_synced_norms_twice_changes_nothing_more() -> None:
    network = with_synced_norms(nn.Sequential(nn.BatchNorm1d(3)))
    norm = network[0]
    assert with_synced_norms(network)[0] is norm
