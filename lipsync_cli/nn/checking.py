"""Whether the tensors of a weights file are those of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lipsync_cli.core.errors import ModelError

if TYPE_CHECKING:
    import torch


def check_state_dict(expected: Mapping[str, torch.Size], tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """ModelError that lists the first missing, unexpected and misshapen keys of a weights file."""
    missing = [key for key in expected if key not in tensors]
    unexpected = [key for key in tensors if key not in expected]
    misshapen = [
        f"{key} {list(tensors[key].shape)} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in tensors and tensors[key].shape != shape
    ]
    problems = [
        f"{len(keys)} {word} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for word, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if keys
    ]
    if problems:
        raise ModelError(
            f"{path.name} does not fit the network: {'; '.join(problems)}.",
            hint="Weights and code are of different versions; install them together.",
        )
