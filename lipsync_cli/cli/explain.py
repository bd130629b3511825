"""``lipsync dub --explain``: what a dub would do, decided but not done."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from lipsync_cli.cli.console import emit_json, emit_lines, emit_table

if TYPE_CHECKING:
    from lipsync_cli.request import DubRequest

SCHEMA = 1


def show_plan(request: DubRequest, *, as_json: bool) -> None:
    """Write the settings with their origins, the latency ledger and the stages to stdout."""
    from lipsync_cli import pipeline

    plan = pipeline.explain(request)
    ledger = [_row(entry) for entry in plan["ledger"]]
    stages = [_row(entry) for entry in plan["stages"]]
    settings = settings_rows(request)
    if as_json:
        emit_json(
            {"schema": SCHEMA, "preset": request.preset, **_files(request), **_document(settings, ledger, stages)}
        )
        return
    emit_lines(f"{name}: {value}" for name, value in _files(request).items())
    emit_lines(["", f"Settings (preset {request.preset})"])
    emit_table(("setting", "value", "from"), settings)
    emit_lines(["", "Latency before the first frame"])
    emit_table(("stage", "frames", "seconds"), [_ledger_cells(entry) for entry in ledger])
    emit_lines(["", "Stages", *("  ".join(str(value) for value in stage.values()) for stage in stages)])


def settings_rows(request: DubRequest) -> list[tuple[str, str, str]]:
    """Name, value and origin of every setting."""
    values = request.settings.model_dump()
    return [(name, display(value), request.provenance.get(name, "")) for name, value in values.items()]


def display(value: Any) -> str:
    """A setting's value as TOML would have it, with a dash for unset."""
    if value is None:
        return "–"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _files(request: DubRequest) -> dict[str, str]:
    output = "-" if request.output is None else str(request.output)
    return {"video": str(request.video), "audio": str(request.audio), "output": output}


def _document(settings: list[tuple[str, str, str]], ledger: list[Any], stages: list[Any]) -> dict[str, Any]:
    resolved = {name: {"value": value, "from": origin} for name, value, origin in settings}
    return {"settings": resolved, "ledger": ledger, "stages": stages}


def _row(entry: Any) -> dict[str, Any]:
    if is_dataclass(entry) and not isinstance(entry, type):
        return asdict(entry)
    return dict(entry) if isinstance(entry, dict) else {"stage": str(entry)}


def _ledger_cells(entry: dict[str, Any]) -> tuple[str, str, str]:
    return str(entry["stage"]), str(entry["frames"]), f"{entry['seconds']:.3f}"
