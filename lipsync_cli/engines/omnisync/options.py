"""How an OmniSync model samples: what its card says, and what a user may change."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lipsync_cli.engines.engine import EngineOptions


class OmniSyncOptions(EngineOptions):
    """What may be asked of an OmniSync model; the card says of each what it was trained for."""

    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps from pure noise.")
    shift: float | None = Field(None, gt=0, description="Share of the steps near the noise: 1 spreads them evenly.")
    pni: Literal["on", "off"] | None = Field(None, description="Progressive noise: start from the noised source.")
    pni_tau: float | None = Field(None, ge=0, le=1, description="How far the source is noised for that.")
    pni_steps: Literal["cut", "full"] | None = Field(
        None, description="Take only the steps below that noise, or space all of them below it."
    )
    pni_mouth_tau: float | None = Field(None, ge=0, le=1, description="How far the mouth is noised, if further.")
    audio_cfg: float | None = Field(None, ge=0, description="How far the model is pushed towards the sound.")
    cfg_map: Literal["mouth", "flat"] | None = Field(
        None, description="Where it is pushed: at the mouth, everywhere."
    )
    cfg_base: float | None = Field(None, ge=0, description="How far it is pushed away from the mouth.")
    cfg_spread: float | None = Field(None, gt=0, description="Width of the mouth's push, in face widths.")
    cfg_window: str | None = Field(None, description="When it is pushed: power:1.5, band:0.555-0.882, const.")
    cfg_mode: Literal["normalised", "literal"] | None = Field(
        None, description="literal: by the peak twice, as printed in the paper."
    )
    cfg_min: float | None = Field(None, ge=0, description="The least push at any step.")
    region_lock: float | None = Field(
        None, ge=0, le=1, description="Share of the steps after which all but the mouth is put back."
    )
