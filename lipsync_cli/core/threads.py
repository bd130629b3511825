"""Fewer threads for the libraries underneath, for those whose process does nothing but dub."""

from __future__ import annotations

import os

_CALM = {
    # Threads of the networks that have nothing to do sleep.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Matrices and pictures outside of the networks are small: waking threads for them takes longer than the work.
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}


def calm_threads() -> None:
    """Keep the threads of torch, NumPy and OpenCV from spinning on cores that faces, encoder and other dubs need.

    Sets environment variables, where they are not set, that are read once: when those libraries are imported, also by
    processes that are started later. So call it before. Results do not depend on it.
    """
    for name, value in _CALM.items():
        os.environ.setdefault(name, value)
