"""The only writer of ``models/NAME``: networks in, half-precision file and card out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lipsync_cli import hub
from lipsync_cli.hub.files import digest

WEIGHTS = "weights.safetensors"


def export(
    networks: torch.nn.Module, folder: Path, blank: hub.ModelCard, *, role: str, source: str, **decided: Any
) -> Path:
    """Write the weights (matrices in float16, vectors in float32) and a card that names them; returns their path.

    A card that is there is kept, but for the file and the values of its generator table that training has
    ``decided``. Where there is none, it is made from ``blank``, under the folder's name. Raises ModelError for a
    broken card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = hub.load_card(folder) if (folder / hub.CARD_NAME).exists() else _named(blank, folder)
    path = folder / WEIGHTS
    tensors = {
        key: (value.half() if value.dim() > 1 else value.float()).cpu().contiguous()
        for key, value in networks.state_dict().items()
    }
    save_file(tensors, path, metadata={"format": "pt"})
    weights = hub.Weights(
        role=role,
        file=path.name,
        sha256=digest(path, afresh=True),
        bytes=path.stat().st_size,
        licence=next((w.licence for w in known.weights if w.role == role), known.licence),
        source=source,
    )
    others = (other for other in known.weights if other.role != role)
    card = known.model_copy(update={"generator": known.generator | decided, "weights": (*others, weights)})
    hub.write_card(card, folder)
    return path


def _named(blank: hub.ModelCard, folder: Path) -> hub.ModelCard:
    """``blank`` called as the folder is, as far as names of models allow."""
    name = "".join(c if (c.isalnum() and c.isascii()) or c in "._-" else "-" for c in folder.resolve().name.lower())
    return blank.model_copy(update={"name": name.lstrip("._-") or blank.name})
