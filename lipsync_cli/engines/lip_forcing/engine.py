"""Lip Forcing as an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from lipsync_cli import hub
from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.engine import Engine, EngineOptions, Placement

if TYPE_CHECKING:
    import torch

    from lipsync_cli.engines.cost import ModelCost
    from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
    from lipsync_cli.engines.lip_forcing.generator import LipForcing
    from lipsync_cli.engines.weight_roles import WeightRole


class LipForcingOptions(EngineOptions):
    """What may be asked of a Lip Forcing model."""

    encoder: Literal["wan", "taew"] | None = Field(
        None, description="Encoder of the crops: the full one or the tiny fast one."
    )
    compile: bool = Field(False, description="Compile the network: a slow start, then more speed.")
    graphs: bool = Field(False, description="Record the steady pass as a CUDA graph.")
    devices: int = Field(1, ge=1, le=16, description="GPUs that share every pass.")
    parity: bool = Field(False, description="Follow the numerics of the original release, its faults included.")


class LipForcingEngine(Engine["LipForcingConfig", LipForcingOptions]):
    """Causal few-step diffusion (arXiv 2606.11180)."""

    kind = "lip-forcing"
    title = "Lip Forcing"
    Options = LipForcingOptions
    dtypes = ("float32", "bfloat16", "float8")
    random_weights = True
    denoiser = "transformer"

    def read(self, card: hub.ModelCard) -> LipForcingConfig:
        from lipsync_cli.engines.lip_forcing.config import read_config

        return read_config(card.generator, model=card.name)

    def check(self, card: hub.ModelCard, options: LipForcingOptions) -> None:
        if options.devices > 1 and options.graphs:
            raise UsageError(
                "Passes that several devices share are not recorded.", hint="Leave out graphs or devices."
            )

    def build(
        self, card: hub.ModelCard, config: LipForcingConfig, options: LipForcingOptions, placement: Placement
    ) -> LipForcing:
        import torch

        from lipsync_cli.engines.devices import choose_dtype, require_devices
        from lipsync_cli.engines.lip_forcing import load
        from lipsync_cli.engines.lip_forcing.generator import LipForcing
        from lipsync_cli.engines.weight_roles import require_files

        speed = load.Speed(placement.dtype == "float8", options.compile, options.graphs, options.devices)
        load.check_speed(config, speed)
        require_devices(placement.device, speed.devices)
        device, dtype = torch.device(placement.device), choose_dtype(placement.dtype, placement.device)
        if not placement.random_weights:
            require_files(card, load.needed_roles(config))
        _require_memory(card.name, config, device, dtype, speed.devices)
        if placement.random_weights:
            networks = load.random_networks(config, device=device, dtype=dtype)
        else:
            networks = load.load_networks(card, config, device=device, dtype=dtype)
        return LipForcing(load.accelerate(networks, speed), config, name=card.name, release=options.parity)

    def roles(self, config: LipForcingConfig) -> Mapping[str, WeightRole]:
        from lipsync_cli.engines.lip_forcing.weight_roles import roles

        return roles(config)

    def cost(self, config: LipForcingConfig) -> ModelCost:
        from lipsync_cli.engines.lip_forcing.cost import model_cost

        return model_cost(config)


def _require_memory(
    name: str, config: LipForcingConfig, device: torch.device, dtype: torch.dtype, devices: int
) -> None:
    """Of several GPUs each holds the weights and a share of the keys and values; on a CPU all share one memory."""
    from lipsync_cli.engines.lip_forcing.cost import needed_bytes
    from lipsync_cli.engines.memory import require_memory

    needed = needed_bytes(config, dtype, devices=devices) * (devices if device.type == "cpu" else 1)
    require_memory(needed, name=name, what="weights, keys and values", device=device, dtype=dtype)
