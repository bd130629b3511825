"""From exceptions to exit codes: one sentence and a hint on stderr, and a JSON document where one was asked for."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

import typer

from lipsync_cli.cli.console import emit_json
from lipsync_cli.core.errors import EXIT_BUG, EXIT_ENVIRONMENT, EXIT_INTERRUPTED, EXIT_OUTPUT, LipsyncError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """How a command failed, as shown to people and machines."""

    code: int
    message: str
    hint: str = ""


@contextmanager
def guarded(argv: Sequence[str]) -> Iterator[None]:
    """End with the right exit code whatever is raised inside; ``argv`` tells of ``--json`` and ``--debug``."""
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:
        _close_stdout()
        raise typer.Exit(0) from None
    except (Exception, KeyboardInterrupt) as error:
        if hasattr(error, "format_message"):  # a usage error of the option parser, which shows itself
            _emit(Failure(2, error.format_message()), argv)
            raise
        failure = describe(error)
        if wants(argv, "--debug"):
            _print_traceback(error)
        _print(failure)
        _emit(failure, argv)
        raise typer.Exit(failure.code) from error


def wants(argv: Sequence[str], flag: str) -> bool:
    """Whether a flag was given, for when parsing failed or is not finished."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    return flag in options


def describe(error: BaseException) -> Failure:
    """The exit code and the words for an exception."""
    if isinstance(error, LipsyncError) and type(error) is not LipsyncError:
        return Failure(error.exit_code, error.message, error.hint)
    if isinstance(error, KeyboardInterrupt):
        return Failure(EXIT_INTERRUPTED, "Interrupted.")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        hint = "Try --preset realtime, --device cpu, or close other programs."
        return Failure(EXIT_ENVIRONMENT, "There is not enough memory.", hint)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(EXIT_OUTPUT, f"The disk is full: {error.filename or 'no space left'}.", "Make room and retry.")
    detail = f"{type(error).__name__}: {error}".rstrip(": ")
    return Failure(EXIT_BUG, f"This is a bug in lipsync ({detail}).", "Run again with --debug for the traceback.")


def _print(failure: Failure) -> None:
    from lipsync_cli.cli.console import stderr

    with suppress(OSError):
        console = stderr()
        console.print(f"[bold red]Error:[/] [red]{_escaped(failure.message)}[/]", highlight=False, soft_wrap=True)
        if failure.hint:
            console.print(_escaped(failure.hint), highlight=False, soft_wrap=True)


def _print_traceback(error: BaseException) -> None:
    import traceback

    traceback.print_exception(error)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _emit(failure: Failure, argv: Sequence[str]) -> None:
    if wants(argv, "--json"):
        with suppress(OSError):
            emit_json({"schema": SCHEMA, "error": asdict(failure)})


def _close_stdout() -> None:
    """Whoever read stdout is gone: let the interpreter's last flush go nowhere instead of failing."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
