"""Metrics over all clips of a protocol, such as FID: each clip's features lie beside its score, and are pooled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_cli.core.types import Float32
from lipsync_cli.evaluation.registry import metrics


def save_features(path: Path, features: Mapping[str, Float32]) -> None:
    """Write features as npz; nothing when there are none."""
    if features:
        arrays: dict[str, Any] = dict(features)  # numpy's stubs take names for options
        np.savez(path, **arrays)


def pool_features(clips: Iterable[tuple[str, str]], folder: Path) -> dict[str, dict[str, float]]:
    """Metrics by protocol, over those (protocol, name) pairs that have features in ``folder``."""
    gathered: dict[str, dict[str, list[Float32]]] = {}
    for protocol, name in clips:
        path = folder / protocol / f"{name}.npz"
        if path.is_file():
            rows = gathered.setdefault(protocol, {})
            with np.load(path) as features:
                for key in features.files:
                    rows.setdefault(key, []).append(features[key])
    values = {protocol: _pooled(rows) for protocol, rows in gathered.items()}
    return {protocol: pooled for protocol, pooled in values.items() if pooled}


def _pooled(rows: Mapping[str, list[Float32]]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, metric in metrics().items():
        if metric.pool is None:
            continue
        prefix = f"{name}_"
        parts = {
            key.removeprefix(prefix): np.concatenate(parts) for key, parts in rows.items() if key.startswith(prefix)
        }
        value = metric.pool(parts) if parts else None
        if value is not None:
            values[name] = value
    return values
