"""``lipsync models``: which are installed, what their cards say, and whether their files are whole."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lipsync_cli import hub
from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, emit_table
from lipsync_cli.errors import ModelError

SCHEMA = 1

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, show and verify the installed models.")

Name = Annotated[str, typer.Argument(metavar="NAME|PATH", help="Model to show.", autocompletion=o.complete_models)]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME|PATH]...", help="Models to verify; all if none.", autocompletion=o.complete_models),
]


@app.command("list")
def list_models(as_json: o.Json = False, debug: o.Debug = False) -> None:
    """List the installed models."""
    cards = hub.list_models()
    if as_json:
        emit_json({"schema": SCHEMA, "models": [card.model_dump(mode="json") for card in cards]})
        return
    rows = [(c.name, str(c.version), c.licence, _size(sum(w.bytes for w in c.weights)), c.summary) for c in cards]
    emit_table(("name", "version", "licence", "size", "summary"), rows)


@app.command("show")
def show_model(name: Name, as_json: o.Json = False, debug: o.Debug = False) -> None:
    """Show a model's card."""
    card = hub.load_card(name)
    if as_json:
        emit_json({"schema": SCHEMA, **card.model_dump(mode="json"), "sha256": card.sha256})
        return
    emit_lines([f"{card.name} version {card.version} ({card.kind})", card.summary, f"licence: {card.licence}"])
    emit_lines(f"{key} = {value}" for key, value in card.generator.items())
    for weights in card.weights:
        emit_lines(["", f"{weights.role}: {weights.file} ({_size(weights.bytes)})", f"sha256 {weights.sha256}"])
        emit_lines([f"licence: {weights.licence}", *([f"source: {weights.source}"] if weights.source else [])])


@app.command("verify")
def verify_models(names: Names = None, as_json: o.Json = False, debug: o.Debug = False) -> None:
    """Compare size and sha256 of every file with the model's card."""
    cards = [hub.load_card(name) for name in names] if names else hub.list_models()
    checks = [check for card in cards for check in hub.verify(card)]
    bad = [check for check in checks if check.state != "ok"]
    if not as_json:
        rows = [(c.model, c.role, str(c.state), c.detail) for c in checks]
        rows += [(card.name, "–", "ok", "no files to check") for card in cards if not card.weights]
        emit_table(("model", "role", "state", "detail"), rows)
    elif not bad:
        emit_json({"schema": SCHEMA, "files": [asdict(check) for check in checks]})
    if bad:
        raise ModelError(
            f"{len(bad)} of {len(checks)} model files are not as they should be: {bad[0].model} {bad[0].role}"
            f" ({bad[0].detail}).",
            hint=hub.REINSTALL,
        )


def _size(count: int) -> str:
    if count < 10**6:
        return f"{count / 1e3:.0f} kB" if count else "–"
    return f"{count / 1e6:.1f} MB"
