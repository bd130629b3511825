"""The only writer of ``models/NAME/weights.safetensors``: networks in, half-precision file and card entry out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

WEIGHTS = "weights.safetensors"


def export(networks: torch.nn.Module, folder: Path, *, schedule: Sequence[float] = ()) -> Path:
    """Write the weights (matrices in float16, vectors in float32) and the card's size, sha256 and any schedule."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS
    tensors = {
        key: (value.half() if value.dim() > 1 else value.float()).contiguous()
        for key, value in networks.state_dict().items()
    }
    save_file(tensors, path, metadata={"format": "pt"})
    _update_card(folder / "model.toml", path, schedule)
    return path


def _update_card(card: Path, weights: Path, schedule: Sequence[float]) -> None:
    if not card.exists():
        return
    data = weights.read_bytes()
    text = re.sub(r'(?m)^sha256 = ".*"$', f'sha256 = "{hashlib.sha256(data).hexdigest()}"', card.read_text())
    text = re.sub(r"(?m)^bytes = \d+$", f"bytes = {len(data)}", text)
    if schedule:
        text = re.sub(r"(?m)^schedule = \[.*\]$", f"schedule = {list(schedule)}", text)
    card.write_text(text)


def parameter_count(networks: torch.nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in networks.parameters())
