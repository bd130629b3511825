"""The ``lipsync`` command: a group whose commands are imported when they are called."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from lipsync_cli import __version__
from lipsync_cli.cli.failure import guarded

REPORT_PANEL = "Reports and messages"

# Name → module and the line shown by ``lipsync --help``, which must not import the module to be quick.
COMMANDS = {
    "dub": ("lipsync_cli.cli.dub.command", "Dub a video: the same picture, speaking another audio track."),
    "adapt": ("lipsync_cli.cli.adapt", "Fit the embedded model to one video, for dub --adapter."),
    "inspect": (
        "lipsync_cli.cli.inspect.command",
        "Show what is in a video: streams, shots and the faces to choose from.",
    ),
    "presets": ("lipsync_cli.cli.presets", "List and show presets: named sets of settings."),
    "models": ("lipsync_cli.cli.models.command", "List, show, download, verify and convert models."),
    "doctor": ("lipsync_cli.cli.doctor.command", "Check that everything a dub needs is there and works."),
    "eval": ("lipsync_cli.cli.eval.command", "Score a clip: sync, lips, picture, identity."),
    "bench": ("lipsync_cli.cli.bench", "Measure how fast and with how much memory this machine dubs."),
    "train": ("lipsync_cli.cli.train.command", "Train models on your own clips."),
}


class LipsyncGroup(TyperGroup):
    """Loads commands on demand and turns every failure into a sentence and an exit code."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=summary), name)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["lipsync.argv"] = tuple(args)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        if args and args[0] in COMMANDS:
            self.add_command(load_command(args[0]), args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with guarded(ctx.meta["lipsync.argv"]):
            return super().invoke(ctx)


def load_command(name: str) -> Any:
    """The real command behind a name of ``COMMANDS``; its module holds a Typer called ``app``."""
    module = importlib.import_module(COMMANDS[name][0])
    command = typer.main.get_command(module.app)
    command.name = name
    _accept_debug(command)
    return command


def _accept_debug(command: Any) -> None:
    """Give ``command``, or all commands of a group, the option that ``failure.guarded`` acts on."""
    children = getattr(command, "commands", {}).values()
    for child in children:
        _accept_debug(child)
    if not children:
        command.params.extend(_options_of(_with_debug))


def _options_of(function: Callable[..., None]) -> list[Any]:
    """The options that typer makes of a function's signature."""
    holder = typer.Typer(add_completion=False)
    holder.command()(function)
    return [option for option in typer.main.get_command(holder).params if option.name != "help"]


def _with_debug(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="On failure show the traceback.",
            metavar="",
            expose_value=False,
            rich_help_panel=REPORT_PANEL,
            show_default=False,
        ),
    ] = False,
) -> None:
    """What every command takes, whether or not it says so."""


app = typer.Typer(
    cls=LipsyncGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lipsync {__version__}")
        raise typer.Exit


@app.callback()
def lipsync(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, metavar="", help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Dub a video: the same picture, with the mouth speaking another audio track.

    Exit codes: 0 done, 1 a bug, 2 usage, 3 input, 4 no face to dub, 5 model, 6 environment, 7 output,
    130 interrupted.
    """
