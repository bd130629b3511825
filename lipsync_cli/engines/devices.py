"""Where models run: devices by name, arithmetic, threads, and whether there is room."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lipsync_cli.core.errors import EnvironmentProblem

if TYPE_CHECKING:
    import torch


def require_devices(kind: str, wanted: int) -> None:
    """Several GPUs must be there; on a CPU as many processes take their place, which only tests have a use for."""
    import torch

    present = torch.cuda.device_count() if kind == "cuda" else wanted if kind == "cpu" else 1
    if wanted > present:
        raise EnvironmentProblem(
            f"{wanted} devices were asked for, and there are {present} ({kind}).",
            hint=f"Use --option devices={present}.",
        )


def choose_device(device: str) -> str:
    """``auto`` becomes cuda, then mps, then cpu; a device asked for by name must exist."""
    if device == "cpu":
        return device  # always there; a model without networks then needs no torch at all
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[device]:
        present = ", ".join(name for name, there in available.items() if there)
        raise EnvironmentProblem(
            f"There is no {device} device here (available: {present}).", hint="Use --device auto or --device cpu."
        )
    return device


def choose_dtype(dtype: str, device: str) -> torch.dtype:
    """``auto`` is bfloat16 where the hardware multiplies it natively, float32 elsewhere; so is what is around float8.

    On a CPU without bf16 instructions convolutions in bfloat16 are several times slower than in float32.
    """
    import torch

    if dtype != "auto":
        return torch.float32 if dtype == "float32" else torch.bfloat16
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.float32


class _ThreadLimit:
    """The one number of threads that torch has in a process, and who wants it changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0

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


_LIMIT = _ThreadLimit()


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch use ``count`` threads meanwhile, None for as many as it does; what was before comes back.

    Of several models that run at once the first one's wish counts until the last has ended.
    """
    if count is None:
        yield
        return
    _LIMIT.enter(count)
    try:
        yield
    finally:
        _LIMIT.leave()
