"""``lipsync dub --explain``: what a dub would do, decided but not done."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from lipsync_cli.cli.console import emit_json, emit_lines, emit_table

if TYPE_CHECKING:
    from lipsync_cli.dubbing.request import DubRequest

SCHEMA = 1


def show_plan(request: DubRequest, *, as_json: bool) -> None:
    """Write the settings with their origins, the latency ledger and the stages to stdout."""
    from lipsync_cli.dubbing import pipeline

    plan = pipeline.explain(request)
    ledger = [_row(entry) for entry in plan["ledger"]]
    stages = [_row(entry) for entry in plan["stages"]]
    output = "-" if request.output is None else str(request.output)
    files = {"video": str(request.video), "audio": str(request.audio), "output": output}
    values, origins = request.settings.model_dump(), request.provenance
    if as_json:
        settings = {name: {"value": value, "from": origins[name]} for name, value in values.items()}
        emit_json(
            {
                "schema": SCHEMA,
                "preset": request.preset,
                **files,
                "settings": settings,
                "options": plan["options"],
                "ledger": ledger,
                "stages": stages,
            }
        )
        return
    emit_lines(f"{name}: {value}" for name, value in files.items())
    emit_lines(["", f"Settings (preset {request.preset})"])
    emit_table(("setting", "value", "from"), [(name, display(values[name]), origins[name]) for name in values])
    if plan["options"]:
        emit_lines(["", "Options of the model's engine"])
        emit_table(("option", "value", "from"), [(n, o["value"], o["from"]) for n, o in plan["options"].items()])
    emit_lines(["", "Latency before the first frame"])
    emit_table(("stage", "frames", "seconds"), [_ledger_cells(entry) for entry in ledger])
    emit_lines(["", "Stages", *("  ".join(map(display, stage.values())) for stage in stages)])


def display(value: Any) -> str:
    """A setting's value as TOML would have it, with a dash for unset."""
    if value is None:
        return "–"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(entry: Any) -> dict[str, Any]:
    if is_dataclass(entry) and not isinstance(entry, type):
        return asdict(entry)
    return dict(entry) if isinstance(entry, dict) else {"stage": str(entry)}


def _ledger_cells(entry: dict[str, Any]) -> tuple[str, str, str]:
    return str(entry["stage"]), str(entry["frames"]), f"{entry['seconds']:.3f}"
