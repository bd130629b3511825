"""Networks of true shapes with random weights: for measuring speed, which does not depend on values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def settled(network: Network, dtype: torch.dtype) -> Network:
    """``network`` in arithmetic of ``dtype``, not to be trained."""
    return network.to(dtype).requires_grad_(False).eval()


def random_network(create: Callable[[], Network], device: torch.device, dtype: torch.dtype) -> Network:
    """``create()`` with random weights, allocated once in its final type: 14 billion float32 values would not fit
    beside it."""
    with torch.device("meta"):
        made = create()
    made = made.to(dtype).to_empty(device=device)
    for parameter in made.parameters():
        # Small enough that activations stay finite through any number of layers.
        torch.nn.init.normal_(parameter, std=0.02)
    return made.requires_grad_(False).eval()
