"""Faces found and read in a process of its own, while the networks draw.

dlib keeps Python's lock while it works, which is most of what tracking costs; in the same process the generator's
threads would wait for it. A detector asks for this with ``in_worker_process``. ``python -m lipsync_cli.faces.worker``
serves one parent over its pipes, and ends with them.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Self, cast

import numpy as np

from lipsync_cli.core.concurrency import cores
from lipsync_cli.core.types import Float64, UInt8
from lipsync_cli.faces.detection import Detection
from lipsync_cli.faces.detectors.protocol import FaceReader
from lipsync_cli.faces.detectors.registry import create_reader
from lipsync_cli.faces.face_patch import PATCH_PX


class FaceWorker:
    """A FaceDetector and a LandmarkPredictor that work in another process; a context manager.

    Gives what ``create_reader(detector, samples=samples)`` gives and raises what it raises. The process starts at the
    first picture, so that an unused one costs nothing, or with ``start``. Pictures and answers are copied through
    pipes.
    """

    def __init__(self, detector: str, samples: int) -> None:
        self._setup = (detector, samples)
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Load weights already, while the caller does something else. They take as long as importing torch."""
        with self._lock:
            self._process = self._process or _start(self._setup)

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Detection]:
        """See FaceDetector."""
        return cast(list[Detection], self._ask("detect", picture, {"thorough": thorough}))

    def predict(self, patch: UInt8) -> Float64:
        """See LandmarkPredictor."""
        return cast(Float64, self._ask("predict", patch, {}))

    @property
    def reader(self) -> FaceReader:
        """The two as a tracker takes them."""
        return FaceReader(self, self)

    def close(self) -> None:
        """End the process. Safe to call twice."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                cast(IO[bytes], pipe).close()
        if not self._answered:
            process.kill()  # it may still be loading, and would not notice for a second or two
        process.wait()

    def _ask(self, method: str, picture: UInt8, options: dict[str, Any]) -> Any:
        with self._lock:
            process = self._process = self._process or _start(self._setup)
            try:
                _send(cast(IO[bytes], process.stdin), (method, picture, options))
                answer, error = pickle.load(cast(IO[bytes], process.stdout))
            except (OSError, EOFError, pickle.UnpicklingError) as broken:
                raise RuntimeError(f"The process that reads faces ended with {process.wait()}.") from broken
            self._answered = True
        if error is not None:
            raise error
        return answer


def worth_it() -> bool:
    """Whether there is a second core for the worker to work on."""
    return cores() > 1


def _start(setup: tuple[str, int]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lipsync_cli.faces.worker"]
    # The child must find this very package, wherever the parent was started from.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    _send(cast(IO[bytes], process.stdin), setup)
    return process


def _send(pipe: IO[bytes], message: object) -> None:
    pickle.dump(message, pipe, protocol=5)
    pipe.flush()


def _methods(name: str, samples: int) -> dict[str, Callable[..., Any]]:
    reader = create_reader(name, samples=samples)
    return {"detect": reader.detector.detect, "predict": reader.predictor.predict}


def _load(methods: dict[str, Callable[..., Any]]) -> None:
    """Weights are loaded at the first picture: show a blank one."""
    for method in methods.values():
        method(np.zeros((PATCH_PX, PATCH_PX, 3), np.uint8))


def main() -> None:
    """Answer ``(method, picture, options)`` with ``(answer, error)`` until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        name, samples = pickle.load(requests)
        methods: dict[str, Callable[..., Any]] = {}
        with suppress(Exception):  # the next question meets it again, and sends it back
            methods = _methods(name, samples)
            _load(methods)
        while True:
            method, picture, options = pickle.load(requests)
            try:
                methods = methods or _methods(name, samples)
                _send(answers, (methods[method](picture, **options), None))
            except Exception as error:
                _send(answers, (None, error))


if __name__ == "__main__":
    main()
