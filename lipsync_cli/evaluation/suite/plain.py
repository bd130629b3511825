"""Scores as JSON can hold them."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from lipsync_cli.evaluation.clip import ClipScore

LOSSLESS_DB = 99.0


def plain(score: ClipScore) -> dict[str, Any]:
    """A score as dictionaries and lists: NaN becomes null, and an infinite PSNR 99 dB."""
    return {key: _finite(value) for key, value in asdict(score).items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else math.copysign(LOSSLESS_DB, value)
    return value
