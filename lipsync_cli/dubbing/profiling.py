"""Where a dub's time goes: the names of its stages, the clock that books on them, and the memory it took."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

STAGES = ("load", "decode", "track", "crop", "generate", "composite", "encode")
"""The stages of a dub in the order in which a frame meets them; what is planned and what is reported list these."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StageEntry:
    """Time a stage was busy, its own only. ``realtime_factor`` is seconds of video per second of work."""

    stage: str
    seconds: float
    frames: int
    realtime_factor: float | None


def peak_rss_mb() -> float | None:
    """The most memory this process has held, in MiB; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class StageClock:
    """Attributes wall time to stages.

    Stages nest and pull on each other; a second is booked on the innermost stage of its thread only, so within
    one thread the stages never add up to more than the time that passed. Threads book side by side. ``stages`` are
    listed first, and also where nothing was booked on them.
    """

    def __init__(self, stages: Sequence[str] = ()) -> None:
        self._began = time.perf_counter()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = dict.fromkeys(stages, 0.0)
        self._frames: dict[str, int] = {}
        self._marks: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, *, frames: int = 0) -> Iterator[None]:
        """Book the time spent inside on ``name``, and ``frames`` items with it; do not ``yield`` inside."""
        stack = self._stack()
        self._book(stack)
        stack.append(name)
        try:
            yield
        finally:
            self._book(stack)
            stack.pop()
            self.count(name, frames)

    def wrap(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Iterate over ``items``, booking the time each takes to come on ``name``; closes them when closed."""
        iterator = iter(items)
        try:
            while True:
                with self.stage(name):
                    try:
                        item = next(iterator)
                    except StopIteration:
                        return
                self.count(name, 1)
                yield item
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def count(self, name: str, frames: int) -> None:
        """Add finished frames to a stage, which thereby appears in the table."""
        with self._lock:
            self._seconds.setdefault(name, 0.0)
            self._frames[name] = self._frames.get(name, 0) + frames

    def mark(self, name: str) -> None:
        """Note when something happened; only the first time counts."""
        with self._lock:
            self._marks.setdefault(name, time.perf_counter() - self._began)

    def marked(self, name: str) -> float | None:
        """Seconds from the clock's making to the first ``mark(name)``."""
        return self._marks.get(name)

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._began

    def entries(self, media_s: float | None = None) -> tuple[StageEntry, ...]:
        """The table so far, in order; ``media_s`` is the length of what was processed."""
        with self._lock:
            return tuple(
                StageEntry(
                    name,
                    seconds,
                    self._frames.get(name, 0),
                    media_s / seconds if media_s and seconds > 0 else None,
                )
                for name, seconds in self._seconds.items()
            )

    def _stack(self) -> list[str]:
        if not hasattr(self._local, "stack"):
            self._local.stack, self._local.last = [], 0.0
        return self._local.stack  # type: ignore[no-any-return]

    def _book(self, stack: list[str]) -> None:
        now = time.perf_counter()
        if stack:
            with self._lock:
                self._seconds[stack[-1]] = self._seconds.get(stack[-1], 0.0) + now - self._local.last
        self._local.last = now
