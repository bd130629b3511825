"""Engines: kinds of models that can be run. What another package needs to bring its own is named here."""

from lipsync_cli.core.types import Crop, GeneratedCrop, ModelSpec
from lipsync_cli.engines.engine import Engine, EngineConfig, EngineOptions, Placement
from lipsync_cli.engines.protocol import CropChunk, LipSyncModel, MelSpan, WaveSpan
from lipsync_cli.hub import ModelCard

__all__ = [
    "Crop",
    "CropChunk",
    "Engine",
    "EngineConfig",
    "EngineOptions",
    "GeneratedCrop",
    "LipSyncModel",
    "MelSpan",
    "ModelCard",
    "ModelSpec",
    "Placement",
    "WaveSpan",
]
