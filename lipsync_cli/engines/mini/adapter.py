"""Adapters: small files of what was changed in a model's renderer to suit one video.

A safetensors file of float32 differences to the weights of one model, which its metadata name by their fingerprint.
On any other weights the differences would be noise, so they are refused there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from lipsync_cli import hub
from lipsync_cli.core.errors import ModelError, OutputError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

KIND, VERSION = "lipsync-adapter", 1
# One entry, because the order of several is not fixed and the same adapter should be the same file.
ENTRY = "lipsync_adapter"
ADAPTABLE = ("lip-forcing-mini",)
"""Kinds of models that can be adapted."""
REMAKE = "Make one with: lipsync adapt VIDEO -o FILE."


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """What an adapter says of itself.

    ``base`` is the sha256 of the weights it belongs to, ``source`` the name of the video it was made from; of that
    ``frames`` crops were used in ``steps`` steps. ``figures`` are held-out measures before and after.
    """

    model: str
    base: str
    source: str
    frames: int
    steps: int
    seed: int
    figures: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter file that belongs to the model it was asked for; its tensors have not been read."""

    path: Path
    info: AdapterInfo
    sha256: str

    @property
    def summary(self) -> dict[str, Any]:
        """What a report says of it."""
        info = self.info
        return {
            "file": str(self.path),
            "sha256": self.sha256,
            "source": info.source,
            "frames": info.frames,
            "steps": info.steps,
        }


def require_adaptable(card: hub.ModelCard) -> None:
    """UsageError for a model that cannot be adapted."""
    if card.kind not in ADAPTABLE:
        raise UsageError(
            f"Model {card.name} cannot be adapted to a video.", hint="Adapters are for lip-forcing-mini only."
        )


def read_adapter(path: Path, card: hub.ModelCard) -> Adapter:
    """The adapter in ``path`` for the model of ``card``; torch is not needed.

    Raises UsageError for a model without adapters, ModelError for a file that is missing, damaged, no adapter, or
    that was made for other weights.
    """
    require_adaptable(card)
    info = _read_info(path)
    if info.model != card.name:
        raise ModelError(f"The adapter {path} was made for model {info.model}, not for {card.name}.", hint=REMAKE)
    if info.base != card.sha256:
        raise ModelError(
            f"The adapter {path} was made for other weights of {card.name} ({info.base[:12]}…) than those "
            f"installed ({card.sha256[:12]}…).",
            hint=REMAKE,
        )
    return Adapter(path, info, hashlib.sha256(path.read_bytes()).hexdigest())


def _read_info(path: Path) -> AdapterInfo:
    if not path.is_file():
        raise ModelError(f"There is no adapter {path}.", hint=REMAKE)
    try:
        with safe_open(path, framework="np") as file:
            about = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"The adapter {path} is damaged or no adapter: {error}", hint=REMAKE) from error
    if ENTRY not in about:
        raise ModelError(f"{path} holds weights, but is no adapter.", hint=REMAKE)
    try:
        table = json.loads(about[ENTRY])
        kind, version = table.pop("kind"), table.pop("version")
        if (kind, version) != (KIND, VERSION):
            raise ModelError(
                f"The adapter {path} is {kind} version {version}; {KIND} version {VERSION} was expected.", hint=REMAKE
            )
        return AdapterInfo(**table)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The adapter {path} does not say what it was made for.", hint=REMAKE) from error


def write_adapter(path: Path, changes: Mapping[str, Tensor], info: AdapterInfo) -> None:
    """Write ``changes``, differences by key of the model's state dict; OutputError where that is not possible."""
    from safetensors.torch import save

    about = {ENTRY: json.dumps({"kind": KIND, "version": VERSION, **asdict(info)})}
    try:
        # Not the library's own way to a file, which nobody else could read.
        path.write_bytes(save({key: change.float().cpu().contiguous() for key, change in changes.items()}, about))
    except OSError as error:
        raise OutputError(f"The adapter {path} cannot be written: {error.strerror}.") from error


def apply_adapter(networks: nn.Module, adapter: Adapter) -> None:
    """Change ``networks`` in place; ModelError for tensors that do not fit them."""
    import torch
    from safetensors.torch import load_file

    weights = networks.state_dict()
    for key, change in load_file(adapter.path).items():
        if key not in weights or weights[key].shape != change.shape or not torch.isfinite(change).all():
            raise ModelError(f"The adapter {adapter.path} does not fit the network at {key}.", hint=REMAKE)
        with torch.no_grad():
            weights[key] += change.to(weights[key])
