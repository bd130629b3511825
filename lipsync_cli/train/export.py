"""The only writer of ``models/NAME/weights.safetensors``: networks in, half-precision file and card entry out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

WEIGHTS = "weights.safetensors"


def export(networks: torch.nn.Module, folder: Path, **settings: Sequence[float]) -> Path:
    """Write the weights (matrices in float16, vectors in float32) and the card's size, sha256 and ``settings``.

    Settings are lists of the card's generator table, such as ``schedule``, that training has decided.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS
    tensors = {
        key: (value.half() if value.dim() > 1 else value.float()).contiguous()
        for key, value in networks.state_dict().items()
    }
    save_file(tensors, path, metadata={"format": "pt"})
    _update_card(folder / "model.toml", path, settings)
    return path


def _update_card(card: Path, weights: Path, settings: Mapping[str, Sequence[float]]) -> None:
    if not card.exists():
        return
    data = weights.read_bytes()
    text = re.sub(r'(?m)^sha256 = ".*"$', f'sha256 = "{hashlib.sha256(data).hexdigest()}"', card.read_text())
    text = re.sub(r"(?m)^bytes = \d+$", f"bytes = {len(data)}", text)
    for name, values in settings.items():
        text = re.sub(rf"(?m)^{name} = \[.*\]$", f"{name} = {list(values)}", text)
    card.write_text(text)


def parameter_count(networks: torch.nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in networks.parameters())
