"""Which network each file of a Lip Forcing model belongs to, and what its tensors are called there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lipsync_cli.core.errors import ModelError
from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
from lipsync_cli.engines.lip_forcing.nn.speech import create_wav2vec2, wav2vec2_tensors
from lipsync_cli.engines.lip_forcing.nn.transformer import LipForcingTransformer
from lipsync_cli.nn.checkpoints import load_strictly
from lipsync_cli.nn.wan.taew import Taew, fit_time_grow
from lipsync_cli.nn.wan.umt5 import create_umt5, umt5_tensors
from lipsync_cli.nn.wan.wan_vae import create_wan_vae, diffusers_key

Renamed = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Role:
    """``create`` builds the network for a configuration, ``rename`` turns a file's tensors into the network's."""

    create: Callable[[LipForcingConfig], nn.Module]
    rename: Renamed


def _wan_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {diffusers_key(key): value for key, value in tensors.items()}


ROLES = {
    "transformer": Role(lambda c: LipForcingTransformer(c.transformer()), dict),
    "wan-vae": Role(lambda c: create_wan_vae(c.vae_width), _wan_tensors),
    "taew": Role(lambda c: Taew(c.taew_width), fit_time_grow),
    "speech": Role(
        lambda c: create_wav2vec2(c.speech_width, c.speech_layers, c.speech_heads, c.speech_feed_forward),
        wav2vec2_tensors,
    ),
    "umt5": Role(lambda c: create_umt5(c.text()), umt5_tensors),
}


def load_role(role: str, config: LipForcingConfig, path: Path) -> Any:
    """The network of ``role`` with the tensors of ``path``; ModelError lists keys and shapes that do not fit."""
    if role not in ROLES:
        raise ModelError(f"There is no network for the role {role!r}.", hint=f"Roles: {', '.join(ROLES)}.")
    return load_strictly(lambda: ROLES[role].create(config), path, rename=ROLES[role].rename)
