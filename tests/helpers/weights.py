"""Weights of networks, compared to the bit, and a callback that stops a training."""

from __future__ import annotations

import torch

Weights = dict[str, torch.Tensor]


def weights_of(module: torch.nn.Module) -> Weights:
    """A copy of a module's weights."""
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_same(one: Weights, other: Weights) -> None:
    """Every tensor of ``one`` is the other's, to the bit."""
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def stop_training(*_: object) -> None:
    """For ``on_save``: as a user who presses Ctrl-C at the first save."""
    raise KeyboardInterrupt
