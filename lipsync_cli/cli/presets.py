"""``lipsync presets``: which there are and what they set."""

from __future__ import annotations

from typing import Annotated

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, emit_table
from lipsync_cli.cli.dub.explain import display
from lipsync_cli.settings import DubSettings, bounds, choose_preset, load_preset, preset_names, resolve_settings

SCHEMA = 1

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List and show presets: named sets of settings.")

Name = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Preset to show.", autocompletion=o.complete_presets)]


@app.command("list")
def list_presets(as_json: o.Json = False) -> None:
    """List the presets; a star marks the one in force."""
    current = choose_preset(None)
    presets = [load_preset(name) for name in preset_names()]
    if as_json:
        rows = [{"name": p.name, "summary": p.summary, "settings": p.values} for p in presets]
        emit_json({"schema": SCHEMA, "current": current, "presets": rows})
        return
    emit_table(("", "name", "summary"), [("*" if p.name == current else "", p.name, p.summary) for p in presets])


@app.command("show")
def show_preset(
    name: Name,
    resolved: Annotated[
        bool, o.flag("--resolved", help="Show every setting in force and where it comes from.")
    ] = False,
    as_json: o.Json = False,
) -> None:
    """Show what a preset sets, or with --resolved what a dub with it would use."""
    preset = load_preset(name)
    values, origins = preset.values, dict.fromkeys(preset.values, f"preset {preset.name}")
    if resolved:
        settings, origins, *_ = resolve_settings(name, {})
        values = settings.model_dump()
    if as_json:
        rows = {key: {"value": value, "from": origins[key]} for key, value in values.items()}
        emit_json(
            {
                "schema": SCHEMA,
                "name": preset.name,
                "summary": preset.summary,
                "settings": rows,
                "engine": preset.options,
            }
        )
        return
    emit_lines([preset.summary, ""])
    emit_table(
        ("setting", "value", "from", "meaning", "accepts"),
        [
            (k, display(v), origins[k], DubSettings.model_fields[k].description or "", bounds(k))
            for k, v in values.items()
        ],
    )
    options = [(kind, name, display(v)) for kind, table in preset.options.items() for name, v in table.items()]
    if options:
        emit_lines([""])
        emit_table(("models of kind", "option", "value"), options)
