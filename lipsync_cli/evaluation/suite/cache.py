"""What is done already: results and dubs lie in the folder under a key that changes whenever they would."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from lipsync_cli import __version__, hub
from lipsync_cli.core.errors import OutputError
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.registry import metrics, network_roles, plugin_versions
from lipsync_cli.evaluation.suite.plan import ItemResult, SuiteItem, SuitePlan

# Changes of the scoring code that make older results incomparable raise this.
SCORING = 1


def read_result(path: Path, key: str) -> ItemResult | None:
    """The result that was written under ``key``; None when there is none."""
    stored = read_json(path)
    return ItemResult(**stored) if stored.pop("key", "") == key else None


def write_result(path: Path, key: str, result: ItemResult) -> None:
    """Keep a result; raises OutputError where that is not possible."""
    write_json(path, {"key": key, **asdict(result)})


def read_json(path: Path) -> dict[str, Any]:
    """An object that was written earlier; empty when there is none or it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write all of it or nothing; raises OutputError where that is not possible."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def result_key(item: SuiteItem, plan: SuitePlan, networks: MetricNetworks) -> str:
    """Changes whenever the scores would."""
    fingerprints = [(role.name, role.fingerprint(networks.options)) for role in network_roles()]
    return _digest([SCORING, list(metrics()), plugin_versions(), fingerprints, dub_key(item, plan)])


def dub_key(item: SuiteItem, plan: SuitePlan) -> str:
    """Changes whenever the dub would."""
    parts: list[Any] = [item.protocol.name, str(plan.seconds)]
    parts += [_stamp(path) for path in (item.clip.video, item.sound)]
    if item.protocol.dubs:
        model = hub.load_card(plan.settings.model)
        parts += [__version__, model.sha256, plan.settings.model_dump(mode="json")]
        options, _ = plan.options.for_kind(model.kind)
        parts += [{name: str(value) for name, value in options.items()}]
        files = [Path(value) for value in options.values() if isinstance(value, str | Path)]
        parts += [_stamp(path) for path in files if path.is_file()]  # such as an adapter
    return _digest(parts)


def _stamp(path: Path) -> tuple[str, int, int]:
    return str(path), path.stat().st_size, path.stat().st_mtime_ns


def _digest(parts: list[Any]) -> str:
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
