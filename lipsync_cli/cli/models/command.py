"""``lipsync models``: which are installed, what their cards say, and whether their files are whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli import hub
from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, emit_table, stderr
from lipsync_cli.cli.models.cost import model_cost
from lipsync_cli.cli.paths import check_input
from lipsync_cli.core.errors import ModelError

SCHEMA = 1

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, show, download, verify and convert models.")

Name = Annotated[str, typer.Argument(metavar="NAME|PATH", help="Model to show.", autocompletion=o.complete_models)]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME|PATH]...", help="Models to verify; all if none.", autocompletion=o.complete_models),
]
Wanted = Annotated[
    list[str], typer.Argument(metavar="NAME|PATH...", help="Models to download.", autocompletion=o.complete_models)
]
Checkpoint = Annotated[Path, typer.Argument(metavar="FILE", help="Torch or safetensors file.", show_default=False)]
Folder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Model folder to write.")]
Kind = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME|PATH", help="Model whose card to follow.", autocompletion=o.complete_models
    ),
]
Role = Annotated[
    str,
    typer.Option(metavar="ROLE", help="Which of the model's files it is; default: the denoiser.", show_default=False),
]


@app.command("list")
def list_models(as_json: o.Json = False) -> None:
    """List the installed models."""
    cards = hub.list_models()
    if as_json:
        emit_json({"schema": SCHEMA, "models": [card.model_dump(mode="json") for card in cards]})
        return
    rows = [(c.name, _use(c), str(c.version), c.licence, _total(c), c.summary) for c in cards]
    emit_table(("name", "dubs", "version", "licence", "size", "summary"), rows)


@app.command("show")
def show_model(name: Name, as_json: o.Json = False) -> None:
    """Show a model's card."""
    card = hub.load_card(name)
    if as_json:
        emit_json({"schema": SCHEMA, **card.model_dump(mode="json"), "sha256": card.sha256})
        return
    emit_lines([f"{card.name} version {card.version} ({card.kind})", card.summary, f"licence: {card.licence}"])
    emit_lines(f"{key} = {value}" for key, value in card.generator.items())
    _show_options(card)
    for weights in card.weights:
        emit_lines(["", f"{weights.role}: {weights.file} ({_size(weights.bytes)})"])
        emit_lines([f"sha256 {weights.sha256 or 'not known'}"])
        emit_lines([f"licence: {weights.licence}", *([f"source: {weights.source}"] if weights.source else [])])


@app.command("verify")
def verify_models(names: Names = None, as_json: o.Json = False) -> None:
    """Compare size and sha256 of every file with the model's card."""
    cards = [hub.load_card(name) for name in names] if names else hub.list_models()
    checks = [check for card in cards for check in hub.verify(card)]
    bad = [check for check in checks if check.state not in hub.USABLE]
    if not names:
        # Large models that nobody asked for are not broken for not being there.
        bad = [check for check in bad if check.state != "absent"]
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
            hint=f"Run: lipsync models pull {bad[0].model}" if bad[0].state == "absent" else hub.REINSTALL,
        )


@app.command("pull")
def pull_models(names: Wanted, as_json: o.Json = False) -> None:
    """Download what is missing of models and compare it with their cards."""
    checks = []
    for card in [hub.load_card(name) for name in names]:
        total = hub.download_size(card)
        stderr().print(f"{card.name}: {len(card.weights)} files, {total} to download at most", highlight=False)
        for check in hub.pull(card):
            checks.append(check)
            stderr().print(f"{card.name}: {check.role} {check.state}", highlight=False)
            if check.state not in hub.USABLE:
                raise ModelError(f"The {check.role} file of {card.name} is not what its card says: {check.detail}.")
        if card.unpublished:
            stderr().print(card.unpublished, highlight=False, soft_wrap=True)
    if as_json:
        emit_json({"schema": SCHEMA, "files": [asdict(check) for check in checks]})


@app.command("convert")
def convert_checkpoint(checkpoint: Checkpoint, folder: Folder, model: Kind, role: Role = "") -> None:
    """Make a model folder of a checkpoint of a large model: checked, as safetensors, with a card."""
    check_input(checkpoint, "a checkpoint")
    card = hub.load_card(model)
    from lipsync_cli.engines.convert import convert

    weights = convert(card, checkpoint, folder, role=role)
    stderr().print(f"{folder / weights.file}: {_size(weights.bytes)}", highlight=False, soft_wrap=True)
    stderr().print(f"Use it with: --model {folder}", highlight=False, soft_wrap=True)


app.command("cost")(model_cost)


def _use(card: hub.ModelCard) -> str:
    """Whether a video can be dubbed with a model here and now."""
    from lipsync_cli.engines.registry import engine_kinds

    if card.kind not in engine_kinds():
        return "no: measures"
    states = [check.state for check in hub.verify(card, afresh=False)]
    if all(state in hub.USABLE for state in states) and not card.unpublished:
        return "yes"
    return "no weights" if card.unpublished else "after pull"


def _show_options(card: hub.ModelCard) -> None:
    """What ``--option`` can change of a model."""
    from lipsync_cli.engines.registry import engine_kinds, engine_of
    from lipsync_cli.settings import field_bounds

    fields = engine_of(card).Options.model_fields if card.kind in engine_kinds() else {}
    if fields:
        emit_lines([""])
        emit_table(
            ("--option", "accepts", "meaning"),
            [(name, field_bounds(field), field.description or "") for name, field in fields.items()],
        )


def _total(card: hub.ModelCard) -> str:
    """The size of a model, with a sign where more comes whose size is not known."""
    known = _size(sum(weights.bytes for weights in card.weights))
    return known if all(weights.bytes for weights in card.weights) else f"> {known}"


def _size(count: int) -> str:
    if count < 10**6:
        return f"{count / 1e3:.0f} kB" if count else "–"
    return f"{count / 1e6:.1f} MB" if count < 10**9 else f"{count / 1e9:.1f} GB"
