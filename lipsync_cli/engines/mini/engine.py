"""The embedded model as an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from lipsync_cli import hub
from lipsync_cli.core.concurrency import cores
from lipsync_cli.engines.engine import Engine, EngineOptions, Placement

if TYPE_CHECKING:
    from lipsync_cli.engines.mini.config import MiniConfig
    from lipsync_cli.engines.mini.generator import LipForcingMini

MOST_DRAWERS = 4


class MiniOptions(EngineOptions):
    """What may be asked of an embedded model."""

    crop_size: int | None = Field(
        None, ge=64, le=512, multiple_of=16, description="Pixels per side at which faces are drawn: fewer are faster."
    )
    adapter: Path | None = Field(None, description="Adapter for this very video, made by lipsync adapt.")


class MiniEngine(Engine["MiniConfig", MiniOptions]):
    """Lip Forcing in miniature, trained by this project."""

    kind = "lip-forcing-mini"
    title = "Embedded"
    Options = MiniOptions

    def read(self, card: hub.ModelCard) -> MiniConfig:
        from lipsync_cli.engines.mini.config import read_config

        return read_config(card.generator, model=card.name)

    def check(self, card: hub.ModelCard, options: MiniOptions) -> None:
        if options.adapter is not None:
            from lipsync_cli.engines.mini.adapter import read_adapter

            read_adapter(options.adapter, card)

    def configure(self, config: MiniConfig, options: MiniOptions) -> MiniConfig:
        from lipsync_cli.engines.mini.config import with_crop_size

        return config if options.crop_size is None else with_crop_size(config, options.crop_size)

    def build(
        self, card: hub.ModelCard, config: MiniConfig, options: MiniOptions, placement: Placement
    ) -> LipForcingMini:
        from lipsync_cli.engines.devices import choose_dtype
        from lipsync_cli.engines.mini.adapter import apply_adapter, read_adapter
        from lipsync_cli.engines.mini.generator import LipForcingMini, load_networks

        networks = load_networks(hub.resolve_weights(card, "networks"), self.read(card))
        adapter = None if options.adapter is None else read_adapter(options.adapter, card)
        if adapter is not None:
            apply_adapter(networks, adapter)
        return LipForcingMini(
            networks,
            config,
            device=placement.device,
            dtype=choose_dtype(placement.dtype, placement.device),
            name=card.name,
            drawers=placement.threads or min(MOST_DRAWERS, cores()),
            adapter=adapter,
        )
