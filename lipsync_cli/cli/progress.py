"""How far a dub has come: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lipsync_cli.cli.console import stderr

if TYPE_CHECKING:
    from rich.console import Console

OnProgress = Callable[[int, int | None], None]
LINE_EVERY_S = 10.0


@contextmanager
def progress(wanted: bool | None, rate: float | None, *, doing: str = "Dubbing") -> Iterator[OnProgress]:
    """A callback taking frames done and in total; ``rate`` is the video's, for the speed against realtime.

    ``wanted`` None shows a bar on a terminal and lines elsewhere, False shows nothing.
    """
    if wanted is False:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(rate, doing) as on_progress:
            yield on_progress
    else:
        yield _lines(stderr(), rate)


@contextmanager
def _bar(rate: float | None, doing: str) -> Iterator[OnProgress]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    began = time.perf_counter()
    with Progress(*columns, console=stderr(), transient=True) as bar:
        task = bar.add_task("dub", total=None, speed="")

        def on_progress(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, speed=speed(done, time.perf_counter() - began, rate))

        yield on_progress


def _lines(console: Console, rate: float | None) -> OnProgress:
    began = last = time.perf_counter()

    def on_progress(done: int, total: int | None) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= LINE_EVERY_S:
            last = now
            out_of = f" of {total}" if total else ""
            left = f", {remaining(done, total, now - began)} left" if total and done else ""
            console.print(f"{done}{out_of} frames, {speed(done, now - began, rate)}{left}", highlight=False)

    return on_progress


def speed(done: int, seconds: float, rate: float | None) -> str:
    """``31.2 fps (1.25× realtime)``."""
    fps = done / seconds if seconds > 0 else 0.0
    factor = f" ({fps / rate:.2f}× realtime)" if rate else ""
    return f"{fps:.1f} fps{factor}"


def remaining(done: int, total: int, seconds: float) -> str:
    """Time left at the speed so far: ``1:05``."""
    left = round(seconds * max(total - done, 0) / done)
    minutes, secs = divmod(left, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"
