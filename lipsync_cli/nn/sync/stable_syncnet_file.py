"""Files of StableSyncNet: the public wrapper ``{"state_dict", "global_step", …}``, read strictly, written alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from lipsync_cli.core.errors import ModelError
from lipsync_cli.nn.checkpoints import load_strictly, read_note, read_tensors
from lipsync_cli.nn.sync.stable_syncnet import CONFIGS, StableSyncConfig, StableSyncNet


def load_stable_syncnet(path: Path) -> StableSyncNet:
    """The network of a file, frozen, in evaluation mode and full precision; the file says which configuration.

    Public files say it by their keys and shapes, those of ``save_stable_syncnet`` in words. ModelError for a file
    that cannot be read or fits no configuration.
    """
    note = read_note(path, "config")
    config = _nearest(read_tensors(path)) if note is None else _written(note, path)
    return load_strictly(lambda: StableSyncNet(config), path).float()


def save_stable_syncnet(path: Path, weights: Mapping[str, Tensor], config: StableSyncConfig, *, step: int) -> None:
    """Write weights as the public files are, with the configuration beside them; whole or not at all."""
    tensors = {key: value.detach().cpu().float() for key, value in weights.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    torch.save({"state_dict": tensors, "global_step": step, "config": asdict(config)}, partial)
    partial.replace(path)


def _written(note: object, path: Path) -> StableSyncConfig:
    try:
        return TypeAdapter(StableSyncConfig).validate_python(note)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ModelError(
            f"The configuration in {path.name} is wrong at {where or 'its root'}: {error.errors()[0]['msg']}.",
            hint="Expected a file of LatentSync or of lipsync train stable-sync.",
        ) from error


def _nearest(tensors: Mapping[str, Tensor]) -> StableSyncConfig:
    """The public configuration with the fewest keys and shapes that differ: what a damaged file was meant to be."""
    found = {(key, value.shape) for key, value in tensors.items()}

    def differing(config: StableSyncConfig) -> int:
        with torch.device("meta"):
            expected = StableSyncNet(config).state_dict()
        return len(found ^ {(key, value.shape) for key, value in expected.items()})

    return min(CONFIGS.values(), key=differing)
