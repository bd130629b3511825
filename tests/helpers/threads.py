"""Threads of the package that are still alive after something that should have ended them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_thread_left() -> Iterator[None]:
    """Fail if a thread of the package that was started meanwhile outlives the block.

    Earlier ones do not count: a model that another test of the process holds keeps threads that render for it.
    """
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before]
    left = [thread.name for thread in started if thread.name.startswith("lipsync")]
    assert not left, f"threads left alive: {left}"
