"""LatentSync as an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from lipsync_cli import hub
from lipsync_cli.engines.engine import Engine, EngineOptions, Placement

if TYPE_CHECKING:
    from lipsync_cli.engines.cost import ModelCost
    from lipsync_cli.engines.latentsync.config import LatentSyncConfig
    from lipsync_cli.engines.latentsync.generator import LatentSync
    from lipsync_cli.engines.weight_roles import WeightRole


class LatentSyncOptions(EngineOptions):
    """What may be asked of a LatentSync model."""

    steps: int | None = Field(None, ge=1, le=100, description="Denoising steps.")
    solver: Literal["ddim", "dpm++"] | None = Field(None, description="What takes the steps.")
    guidance: float | None = Field(
        None, gt=0, le=10, description="How far the model is pushed towards the sound: 1 not at all."
    )
    reuse: int | None = Field(None, ge=1, le=10, description="One in how many steps runs all of the network: 1 each.")
    parity: bool = Field(False, description="Follow the numerics of the original release, its faults included.")


class LatentSyncEngine(Engine["LatentSyncConfig", LatentSyncOptions]):
    """Audio-conditioned latent diffusion (arXiv 2412.09262), versions 1.0, 1.5 and 1.6."""

    kind = "latentsync"
    title = "LatentSync"
    Options = LatentSyncOptions
    random_weights = True
    denoiser = "unet"

    def read(self, card: hub.ModelCard) -> LatentSyncConfig:
        from lipsync_cli.engines.latentsync.config import read_config

        return read_config(card.generator, model=card.name)

    def build(
        self, card: hub.ModelCard, config: LatentSyncConfig, options: LatentSyncOptions, placement: Placement
    ) -> LatentSync:
        import torch

        from lipsync_cli.engines.devices import choose_dtype
        from lipsync_cli.engines.latentsync import load
        from lipsync_cli.engines.latentsync.cost import memory_bytes
        from lipsync_cli.engines.latentsync.generator import LatentSync
        from lipsync_cli.engines.memory import require_memory
        from lipsync_cli.engines.weight_roles import require_files

        device, dtype = torch.device(placement.device), choose_dtype(placement.dtype, placement.device)
        if not placement.random_weights:
            require_files(card, load.roles(config))
        needed = sum(memory_bytes(config, bytes_per_weight=dtype.itemsize).values())
        require_memory(needed, name=card.name, what="its weights", device=device, dtype=dtype)
        if placement.random_weights:
            networks = load.random_networks(config, device=device, dtype=dtype)
        else:
            networks = load.load_networks(card, config, device=device, dtype=dtype)
        return LatentSync(networks, config, name=card.name, release=options.parity)

    def roles(self, config: LatentSyncConfig) -> Mapping[str, WeightRole]:
        from lipsync_cli.engines.latentsync.load import roles

        return roles(config)

    def cost(self, config: LatentSyncConfig) -> ModelCost:
        from lipsync_cli.engines.latentsync.cost import model_cost

        return model_cost(config)
