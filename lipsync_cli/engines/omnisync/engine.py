"""OmniSync as an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipsync_cli import hub
from lipsync_cli.engines.engine import Engine, Placement
from lipsync_cli.engines.omnisync.options import OmniSyncOptions

if TYPE_CHECKING:
    from lipsync_cli.engines.cost import ModelCost
    from lipsync_cli.engines.omnisync.config import OmniSyncConfig
    from lipsync_cli.engines.omnisync.generator import OmniSync


class OmniSyncEngine(Engine["OmniSyncConfig", OmniSyncOptions]):
    """Mask-free editing with progressive noise and dynamic guidance (arXiv 2505.21448)."""

    kind = "omnisync"
    title = "OmniSync"
    Options = OmniSyncOptions
    random_weights = True

    def read(self, card: hub.ModelCard) -> OmniSyncConfig:
        from lipsync_cli.engines.omnisync.config import read_config

        return read_config(card.generator, model=card.name)

    def build(
        self, card: hub.ModelCard, config: OmniSyncConfig, options: OmniSyncOptions, placement: Placement
    ) -> OmniSync:
        import torch

        from lipsync_cli.engines.devices import choose_dtype
        from lipsync_cli.engines.memory import require_memory
        from lipsync_cli.engines.omnisync.cost import transformer_parameters
        from lipsync_cli.engines.omnisync.generator import OmniSync
        from lipsync_cli.engines.omnisync.load import load_networks, random_networks

        device, dtype = torch.device(placement.device), choose_dtype(placement.dtype, placement.device)
        needed = transformer_parameters(config) * dtype.itemsize
        require_memory(needed, name=card.name, what="its weights", device=device, dtype=dtype)
        if placement.random_weights:
            networks = random_networks(config, device=device, dtype=dtype)
        else:
            networks = load_networks(card, config, device=device, dtype=dtype)
        return OmniSync(networks, config, name=card.name)

    def cost(self, config: OmniSyncConfig) -> ModelCost:
        from lipsync_cli.engines.omnisync.cost import model_cost

        return model_cost(config)
