"""Checks of files and folders that cost nothing, made before anything slow is loaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lipsync_cli.errors import InputError, OutputError, UsageError

CONTAINERS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts"})
STDOUT = Path("-")


def check_input(path: Path, what: str) -> None:
    """Refuse an input that cannot be opened."""
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
    if output is None or output.is_dir():
        suffix = video.suffix if video.suffix.lower() in CONTAINERS else ".mp4"
        name = f"{video.stem}.dub{suffix}"
        return video.with_name(name) if output is None else output / name
    if output.suffix.lower() not in CONTAINERS:
        known = ", ".join(sorted(CONTAINERS))
        raise UsageError(f"{output} does not say which container to write.", hint=f"Its name should end in {known}.")
    return output


def check_output(output: Path, inputs: tuple[Path, ...], *, overwrite: bool) -> None:
    """Refuse an output that would replace an input, replace anything unasked, or could not be written."""
    if any(output.exists() and output.samefile(path) for path in inputs):
        raise UsageError(f"{output} is an input and would be overwritten.", hint="Choose another name with -o.")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already.", hint="Use -y to replace it, or -o for another name.")
    check_folder(output)


def check_folder(path: Path) -> None:
    """Refuse a file name in a folder that is missing or read-only."""
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder {path.parent} to write {path.name} to.", hint="Create it first.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder {path.parent} cannot be written to.", hint="Choose another with -o.")
