"""Which network each file of a model belongs to, and what its tensors are called there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lipsync_cli import hub
from lipsync_cli.core.errors import ModelError
from lipsync_cli.nn.checkpoints import load_strictly


@dataclass(frozen=True, slots=True)
class WeightRole:
    """``create`` builds the network of a file, ``rename`` turns the file's tensors into the network's."""

    create: Callable[[], nn.Module]
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict


def load_role(roles: Mapping[str, WeightRole], role: str, path: Path) -> Any:
    """The network of ``role`` with the tensors of ``path``; ModelError lists keys and shapes that do not fit."""
    if role not in roles:
        raise ModelError(f"There is no network for the role {role!r}.", hint=f"Roles: {', '.join(roles) or 'none'}.")
    return load_strictly(roles[role].create, path, rename=roles[role].rename)


def require_files(card: hub.ModelCard, roles: Iterable[str]) -> None:
    """ModelError unless the file of every role is there and is what the card says."""
    for role in roles:
        hub.resolve_weights(card, role)
