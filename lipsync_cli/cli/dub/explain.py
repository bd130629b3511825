"""``lipsync dub --explain``: what a dub would do, decided but not done."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lipsync_cli.cli.console import emit_json, emit_lines, emit_table

if TYPE_CHECKING:
    from lipsync_cli.dubbing.plan import DubPlan

SCHEMA = 1


def show_plan(plan: DubPlan, *, as_json: bool) -> None:
    """Write the settings with their origins, the latency and the stages to stdout."""
    from lipsync_cli.dubbing import pipeline

    request, explanation = plan.request, pipeline.explain(plan)
    files = {"video": str(request.video), "audio": str(request.audio), "output": str(plan.target)}
    values, origins = request.settings.model_dump(), request.provenance
    chosen, option_origins = request.options.for_kind(plan.picture.card.kind)
    options = {name: {"value": str(value), "from": option_origins[name]} for name, value in chosen.items()}
    if as_json:
        emit_json(
            {
                "schema": SCHEMA,
                "preset": request.preset,
                **files,
                "settings": {name: {"value": value, "from": origins[name]} for name, value in values.items()},
                "options": options,
                "ledger": [asdict(entry) for entry in explanation.latency],
                "stages": [{"stage": stage} for stage in explanation.stages],
            }
        )
        return
    emit_lines(f"{name}: {value}" for name, value in files.items())
    emit_lines(["", f"Settings (preset {request.preset})"])
    emit_table(("setting", "value", "from"), [(name, display(values[name]), origins[name]) for name in values])
    if options:
        emit_lines(["", "Options of the model's engine"])
        emit_table(("option", "value", "from"), [(n, o["value"], o["from"]) for n, o in options.items()])
    emit_lines(["", "Latency before the first frame"])
    waits = [(entry.stage, str(entry.frames), f"{entry.seconds:.3f}") for entry in explanation.latency]
    emit_table(("stage", "frames", "seconds"), waits)
    emit_lines(["", "Stages", *explanation.stages])


def display(value: Any) -> str:
    """A setting's value as TOML would have it, with a dash for unset."""
    if value is None:
        return "–"
    return str(value).lower() if isinstance(value, bool) else str(value)
