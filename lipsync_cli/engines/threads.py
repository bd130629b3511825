"""The number of threads that torch uses: one for the whole process, so it is only borrowed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Borrowed:
    """What the number was before, and how many users want it changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = self._before = 0

    def enter(self, count: int) -> None:
        import torch

        with self._lock:
            if not self._users:
                self._before = torch.get_num_threads()
                torch.set_num_threads(count)
            self._users += 1

    def leave(self) -> None:
        import torch

        with self._lock:
            self._users -= 1
            if not self._users:
                torch.set_num_threads(self._before)


_BORROWED = _Borrowed()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads meanwhile, 0 for as many as it does; what was before comes back.

    Of several users at once the first one's wish counts until the last has left.
    """
    if not count:
        yield
        return
    _BORROWED.enter(count)
    try:
        yield
    finally:
        _BORROWED.leave()
