"""Iterators that work ahead of whoever reads them, in threads: what goes between the steps of the pipeline."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class _End:
    """Sent through the queue when the source is exhausted or has failed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class in_background(Generic[T]):
    """Iterate ``items`` in a thread, at most ``depth`` of them ahead of the consumer.

    An iterator and a context manager. An error of the source is raised where the consumer takes the next item.
    ``close`` (also on leaving the ``with`` block, at the end and on an error) stops the thread, closes the source
    in the thread that ran it, and joins. Held: ``depth`` items in the queue, one waiting to enter it.
    """

    def __init__(self, items: Iterable[T], depth: int, *, name: str = "background") -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._done = False
        self._items = items
        self._thread = threading.Thread(target=self._work, name=f"lipsync-{name}", daemon=True)
        self._started = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._done:
            raise StopIteration
        self._start()
        item = self._queue.get()
        if not isinstance(item, _End):
            return item
        self.close()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def __enter__(self) -> in_background[T]:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop early: close the source and join the thread. Safe to call twice."""
        self._done = True
        self._stop.set()
        if not self._started:
            _close(self._items)
            return
        while self._thread.is_alive():
            self._drain()
            self._thread.join(timeout=0.02)
        self._drain()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._thread.start()

    def _drain(self) -> None:
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return

    def _put(self, item: T | _End) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _work(self) -> None:
        end = _End()
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            end = _End(error)
        try:
            _close(self._items)
        except BaseException as error:
            end = end if end.error else _End(error)
        self._put(end)


def _close(items: object) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        close()


def in_threads(function: Callable[[T], R], items: Iterable[T], workers: int, depth: int) -> Generator[R, None, None]:
    """``function`` of every item, in order, each handed out as soon as it is done and its turn has come.

    ``items`` is iterated in a thread of its own and ``function`` called in ``workers`` others, at most ``depth``
    items ahead. An error of either is raised in its turn. Held: ``depth`` results or items, one waiting to be next.
    """

    def begun() -> Iterator[Future[R]]:
        try:
            for item in items:
                yield pool.submit(function, item)
        finally:
            _close(items)

    with (
        ThreadPoolExecutor(workers, thread_name_prefix="lipsync") as pool,
        in_background(begun(), depth, name="items") as ahead,
    ):
        for future in ahead:
            yield future.result()
