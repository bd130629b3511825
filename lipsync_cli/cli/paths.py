"""Which files a command reads and writes, checked before anything slow is loaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lipsync_cli.core.errors import InputError, OutputError, UsageError
from lipsync_cli.media.containers import container_of_suffix

STDOUT = Path("-")


def check_input(path: Path, what: str) -> None:
    """Refuse an input that cannot be opened; ``what`` was expected."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected {what}.")
    if not path.exists():
        raise InputError(f"There is no file {path}.", hint=f"Expected {what}.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read.", hint="Check its permissions.")


def resolve_output(video: Path, output: Path | None) -> Path | None:
    """Where the result goes: beside ``video`` unless told otherwise; None is stdout."""
    if output == STDOUT:
        if sys.stdout.isatty():
            raise UsageError("-o - would write the video to the terminal.", hint="Send it to a file or a pipe.")
        return None
    if output is not None and not output.is_dir():
        return output
    suffix = video.suffix if container_of_suffix(video.suffix) else ".mp4"
    name = f"{video.stem}.dub{suffix}"
    return video.with_name(name) if output is None else output / name


def check_folder(path: Path) -> None:
    """Refuse a file beside the result in a folder that is missing or read-only."""
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder {path.parent} to write {path.name} to.", hint="Create it first.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path} cannot be written: its folder is read-only.", hint="Choose another folder.")


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be made: {error.strerror}.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text beside the result."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
