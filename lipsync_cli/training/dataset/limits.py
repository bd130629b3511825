"""Thresholds of the filters that decide what is trained on; a TOML file may change any number of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from lipsync_cli.training.common.recipes import Count, CountOrNone, Recipe, Share, Weight
from lipsync_cli.training.dataset.format import MAX_LAG, MIN_FRAMES

QuarterTurns = Annotated[float, Field(ge=0, le=1)]
Confidence = Annotated[float, Field(ge=-2, le=2)]
"""A difference of distances between unit embeddings."""


class Limits(Recipe):
    """Sizes in source pixels, angles in quarter turns, lags in frames of 25 a second.

    Picture: least ``frames``; least ``face_px``; most ``yaw`` and ``pitch`` (90th percentile); least ``blur``
    (variance of the Laplacian at the source's scale); most ``jump`` (share of the picture that changes at once) and
    ``frozen`` (share of repeated frames). Sound: least ``level_db``.

    Sync: a lag listed for the clip is plausible up to ``listed_lag``. The expert's lag of a clip counts from
    ``trusted_windows`` windows and ``trusted_confidence`` on, and that of a folder's clips together from four times
    as many windows on. Lags beyond ``lag`` are not corrected. ``confidence`` is the least at the lag that is undone.

    Duplicates: at most these shares of the fingerprints' bits differ.
    """

    frames: Annotated[int, Field(ge=MIN_FRAMES)] = MIN_FRAMES
    face_px: Weight = 60.0
    yaw: QuarterTurns = 0.45
    pitch: QuarterTurns = 0.4
    blur: Weight = 8.0
    jump: Share = 0.6
    frozen: Share = 0.25
    level_db: Annotated[float, Field(ge=-120, le=0)] = -60.0
    listed_lag: CountOrNone = 3
    lag: Annotated[int, Field(ge=0, le=MAX_LAG)] = MAX_LAG
    trusted_windows: Count = 35
    trusted_confidence: Confidence = 0.25
    confidence: Confidence = 0.05
    duplicate_picture: Share = 0.2
    duplicate_sound: Share = 0.2


def load_limits(path: Path | None) -> Limits:
    """The defaults with a TOML file's values over them; UsageError names the key that is wrong."""
    return Limits() if path is None else Limits.read(path)
