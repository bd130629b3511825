"""Where the result goes: checked before work starts, written beside its place, put there when it is complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lipsync_cli.core.errors import OutputError, UsageError
from lipsync_cli.media.containers import Container, container_for

STDOUT = "-"


def check_output(
    target: Path | str, inputs: Iterable[Path | str] = (), *, overwrite: bool = False, container: str | None = None
) -> Container:
    """The container for ``target`` ("-" is stdout), once it is sure that it may be written there.

    Raises UsageError for an unknown extension or container, OutputError when the file exists (unless
    ``overwrite``), is one of the inputs, is a folder, or its folder is missing or not writable.
    """
    chosen = container_for(target, container)
    if str(target) != STDOUT:
        check_place(Path(target), inputs, overwrite=overwrite)
    return chosen


def check_place(path: Path, inputs: Iterable[Path | str] = (), *, overwrite: bool = False) -> None:
    """OutputError when a file exists (unless ``overwrite``), is one of the inputs, is a folder, or its folder is
    missing or not writable."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder.", hint="Name a file in it.")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"The folder {folder} does not exist.", hint="Create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {folder} may not be written to by this user.", hint="Choose another with -o.")
    for given in inputs:
        if path.exists() and Path(given).exists() and path.samefile(given):
            raise OutputError(f"{path} is also an input and would be destroyed.", hint="Choose another name with -o.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already.", hint="Give -y to replace it, or another name with -o.")


class PartialFile:
    """A file written as ``NAME.part`` beside its place: ``commit`` puts it there, ``discard`` removes it."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")

    def commit(self) -> None:
        """Flush to disk and rename; OutputError when that fails (the partial file is removed)."""
        try:
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(self.path, self.target)  # noqa: PTH105 - says that an existing file is replaced
        except OSError as error:
            self.discard()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OutputError(
                    f"The disk is full: {self.target} could not be finished.", hint="Free some space."
                ) from error
            raise OutputError(
                f"{self.target} cannot be written: {error.strerror}.", hint="Choose another place with -o."
            ) from error

    def discard(self) -> None:
        """Remove the partial file if there is one."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def check_tags(tags: Iterable[str]) -> None:
    """UsageError for names of metadata tags that containers do not take."""
    for name in tags:
        if not name or "=" in name or not name.isprintable():
            raise UsageError(f"{name!r} cannot name a metadata tag.")
