"""Where words go: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def stderr() -> Console:
    """A console on stderr, for messages, progress and tables that accompany a result."""
    from rich.console import Console

    return Console(stderr=True)


def emit_json(document: Any) -> None:
    """Write one JSON document to stdout, in UTF-8 whatever the locale."""
    # backslashreplace writes what UTF-8 cannot hold (odd file names) as JSON's own \udcxx escape.
    data = (json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n").encode(
        "utf-8", "backslashreplace"
    )
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def emit_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout as they are."""
    sys.stdout.writelines(line + "\n" for line in lines)


def emit_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write columns to stdout, plain and aligned, as they are a command's result and may be piped on."""
    cells = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    emit_lines(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Show a table on stderr."""
    from rich.table import Table

    table = Table(*header, title=title, title_justify="left", box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    stderr().print(table)
