"""Fills in the parts of the documentation that repeat what the program says: run it after a change and commit.

A page marks such a part with two comments, ``<!-- generated: NAME ARGUMENT -->`` and ``<!-- end -->``. What belongs
between them is made by the function of that name in ``PARTS``. A test fails while any page differs from what would be
made now. Nothing depends on the terminal: texts are taken from the commands themselves, not from a rendered help.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo

from lipsync_cli import api, hub
from lipsync_cli.cli.app import COMMANDS, app, load_command
from lipsync_cli.core.errors import LipsyncError
from lipsync_cli.engines.registry import BUILT_IN as ENGINES
from lipsync_cli.engines.registry import engine_of_kind
from lipsync_cli.evaluation.metric import ARROWS, SECTIONS, Metric
from lipsync_cli.evaluation.needs import EmbeddedNetwork, NetworkFile
from lipsync_cli.evaluation.registry import BUILT_IN as MEASURES
from lipsync_cli.media.containers import CONTAINERS
from lipsync_cli.settings import DubSettings, Preset, field_bounds, load_preset, preset_names

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_PART = re.compile(r"^<!-- generated: (?P<name>[\w-]+)(?: (?P<argument>\S+))? -->\n.*?^<!-- end -->$", re.M | re.S)


def refreshed(text: str) -> str:
    """A page's text with every generated part made anew."""
    return _PART.sub(lambda match: f"{match[0].splitlines()[0]}\n{_part(match)}\n<!-- end -->", text)


def _part(match: re.Match[str]) -> str:
    name, argument = match["name"], match["argument"]
    made = PARTS[name](argument) if argument else PARTS[name]()
    return "\n" + made.strip("\n") + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; pipes in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def code(text: object) -> str:
    """``text`` as code in a line of Markdown; nothing for an empty one."""
    return f"`{text}`" if str(text) else ""


def commands() -> Iterator[tuple[Any, Any]]:
    """Every command and group below ``lipsync`` with its context, each group before its commands."""
    root = typer.main.get_command(app)
    context = root.make_context("lipsync", [], resilient_parsing=True)
    for name in COMMANDS:
        yield from _and_children(load_command(name), name, context)


def _and_children(command: Any, name: str, parent: Any) -> Iterator[tuple[Any, Any]]:
    context = type(parent)(command, info_name=name, parent=parent)
    yield command, context
    for child_name, child in getattr(command, "commands", {}).items():
        yield from _and_children(child, child_name, context)


def cli_reference() -> str:
    """Every command: how it is called, what it does, its arguments and options."""
    return "\n\n".join(_command_section(command, context) for command, context in commands())


def _command_section(command: Any, context: Any) -> str:
    path = context.command_path
    parts = ["#" * len(path.split()) + " " + path]
    parts.append(f"```text\n{_usage(command, context)}\n```")
    parts += [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]
    parts += [_options(title, params, context) for title, params in _panels(command, context).items()]
    return "\n\n".join(parts)


def _usage(command: Any, context: Any) -> str:
    if hasattr(command, "commands"):
        return f"{context.command_path} COMMAND …"
    arguments = [param for param in command.get_params(context) if param.param_type_name == "argument"]
    return " ".join([context.command_path, *map(_argument, arguments), "[OPTIONS]"])


def _argument(param: Any) -> str:
    name = (param.metavar or param.name.upper()).strip(".[]") + (" …" if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _panels(command: Any, context: Any) -> dict[str, list[Any]]:
    """The parameters by the panel in which the help has them: arguments, options without a title, then the titled."""
    panels: dict[str, list[Any]] = {"Argument": [], "Option": []}
    for param in command.get_params(context):
        title = "Argument" if param.param_type_name == "argument" else param.rich_help_panel or "Option"
        if not param.hidden and param.name != "help":
            panels.setdefault(title, []).append(param)
    return {title: params for title, params in panels.items() if params}


def _options(title: str, params: list[Any], context: Any) -> str:
    return table((title, ""), [_row(param, context) for param in params])


def _row(param: Any, context: Any) -> tuple[str, str]:
    """A parameter's name and value, without the option parser's words for types, and what the help says of it."""
    name, text = param.get_help_record(context)
    if param.param_type_name == "argument":
        name = _argument(param)
    name = re.sub(r" <(?:int|float)[a-z ]*>", " N", re.sub(r" <(?:path|bool|str)>", "", name))
    return code(name), " ".join(text.split()).replace("<=", "≤").replace(">=", "≥")


def settings_table() -> str:
    """The settings of a dub."""
    rows = (
        (code(name), code(_accepts(field)), code(_toml(field.default)), str(field.description))
        for name, field in DubSettings.model_fields.items()
    )
    return table(("setting", "accepts", "default", "meaning"), rows)


def presets_table() -> str:
    """What each preset sets."""
    presets = [load_preset(name) for name in preset_names()]
    chosen = [{code(name): value for name, value in preset.values.items()} | _chosen(preset) for preset in presets]
    order = [code(name) for name in DubSettings.model_fields] + sorted(name for p in presets for name in _chosen(p))
    rows = [name for name in dict.fromkeys(order) if any(name in values for values in chosen)]
    head = ["", *(code(preset.name) for preset in presets)]
    return table(head, [[name, *(code(_toml(values.get(name))) for values in chosen)] for name in rows])


def _chosen(preset: Preset) -> dict[str, Any]:
    """A preset's engine options, as rows of the table are called."""
    return {
        f"option {code(name)} of {code(kind)}": value
        for kind, options in preset.options.items()
        for name, value in options.items()
    }


def options_tables() -> str:
    """The options of every engine that has some."""
    found = [(kind, engine_of_kind(kind)) for kind in sorted(ENGINES)]
    return "\n\n".join(
        f"**{engine.title}**, models of kind {code(kind)}:\n\n" + _engine_options(engine)
        for kind, engine in found
        if engine.Options.model_fields
    )


def _engine_options(engine: Any) -> str:
    fields = engine.Options.model_fields
    rows = [(code(name), code(_accepts(field)), str(field.description)) for name, field in fields.items()]
    return table(("option", "accepts", "meaning"), rows)


def models_table() -> str:
    """The models that come with the tool, or that it can fetch."""
    cards = [hub.load_card(name) for name in hub.model_names()]
    cards = [card for card in cards if (hub.models_dir() / card.name).is_dir()]
    return table(("model", "what it is", "licence"), [(code(c.name), c.summary, c.licence) for c in cards])


def recipes_table() -> str:
    """The recipes of ``lipsync train``, each with the command that takes it."""
    found = sorted((ROOT / "presets" / "train").rglob("*.toml"))
    rows = [
        (
            code(f"train {path.parent.name}"),
            code(path.stem),
            tomllib.loads(path.read_text(encoding="utf-8"))["summary"],
        )
        for path in found
    ]
    return table(("command", "recipe", "what it is"), rows)


def containers_table() -> str:
    """What can be written."""
    rows = (
        (
            code(container.name),
            " ".join(map(code, container.suffixes)),
            ", ".join(map(code, container.video)),
            ", ".join(map(code, sorted(container.audio))),
            code(container.audio_encoder),
            code(container.subtitles),
            "yes" if container.streamable else "",
        )
        for container in CONTAINERS
    )
    head = ("container", "names", "video encoders, default first", "audio copied", "else", "subtitles", "to `-`")
    return table(head, rows)


def exit_codes() -> str:
    """What the process ends with, and what Python code catches instead."""
    known = sorted(LipsyncError.__subclasses__(), key=lambda error: error.exit_code)
    rows = [
        ("0", "Done. Also when the reader of `-o -` left early.", ""),
        ("1", "A bug: run again with `--debug`.", "any other"),
    ]
    rows += [(str(error.exit_code), str(error.__doc__), code(error.__name__)) for error in known]
    return table(
        ("exit", "meaning", "exception"),
        [*rows, ("130", "Interrupted; nothing half-written is left.", code("KeyboardInterrupt"))],
    )


def layers() -> str:
    """The packages, each row above those that it may import."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    rows = next(c for c in linter["contracts"] if c.get("containers") == [linter["root_package"]])["layers"]
    return "\n".join(f"{number}. {', '.join(map(code, row.split(' | ')))}" for number, row in enumerate(rows, 1))


def metrics_table() -> str:
    """What is measured, which way is better, and what it needs beyond the clip and its sound."""
    metrics = sorted((m for measure in MEASURES for m in measure.metrics), key=lambda m: SECTIONS.index(m.section))
    rows = [(m.title, ARROWS[m.better], code(m.name), m.meaning, _needs(m)) for m in metrics]
    return table(("metric", "", "in JSON", "meaning", "needs"), rows)


def _needs(metric: Metric) -> str:
    """References and files that a metric asks for; networks that come with the tool are there anyway."""
    asked = (need for need in metric.needs if not isinstance(need, EmbeddedNetwork))
    return ", ".join(code(need.file) if isinstance(need, NetworkFile) else need.name for need in asked)


def api_reference() -> str:
    """Every function of the Python interface: its signature, and what its docstring says."""
    functions = (api.dub, api.load_model, api.dub_frames, api.inspect, api.evaluate)
    return "\n\n".join(_function_section(function) for function in functions)


def _function_section(function: Callable[..., Any]) -> str:
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))
    text = inspect.cleandoc(function.__doc__ or "")
    sections = re.split(r"^(Args|Raises|Yields|Example):\n", text, flags=re.M)
    parts = [f"### {function.__name__}", f"```text\n{function.__name__}{signature}\n```", _prose(sections[0])]
    for title, body in zip(sections[1::2], sections[2::2], strict=True):
        indented = re.match(r"(?:(?: {4}.*)?\n?)*", body)
        block, rest = (body[: indented.end()], body[indented.end() :]) if indented else ("", body)
        parts += [_docstring_block(title, inspect.cleandoc(block)), _prose(rest)]
    return "\n\n".join(part for part in parts if part)


def _prose(text: str) -> str:
    """Paragraphs on a line each, with the code marks of Markdown."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
    return "\n\n".join(paragraphs).replace("``", "`")


def _docstring_block(title: str, text: str) -> str:
    if title == "Example":
        return f"```pycon\n{text.strip()}\n```"
    if title == "Yields":
        return _prose(text)
    rows = re.findall(r"^([\w, ]+): (.*(?:\n {4}.*)*)", text, flags=re.M)
    cells = [(", ".join(map(code, name.split(", "))), _prose(meaning)) for name, meaning in rows]
    return table(("argument" if title == "Args" else "raises", ""), cells)


def quoted_file(path: str) -> str:
    """A file of the repository, whole."""
    text = (ROOT / path).read_text(encoding="utf-8").rstrip()
    link = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
    language = {".py": "python", ".toml": "toml"}[Path(path).suffix]
    return f"[{path}]({link}):\n\n```{language}\n{text}\n```"


def _accepts(field: FieldInfo) -> str:
    return "true|false" if field.annotation in (bool, bool | None) else field_bounds(field)


def _toml(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


PARTS: dict[str, Callable[..., str]] = {
    "api": api_reference,
    "commands": cli_reference,
    "containers": containers_table,
    "exit-codes": exit_codes,
    "file": quoted_file,
    "layers": layers,
    "metrics": metrics_table,
    "models": models_table,
    "options": options_tables,
    "presets": presets_table,
    "recipes": recipes_table,
    "settings": settings_table,
}


def main() -> None:
    """Write the pages that have changed."""
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = refreshed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
