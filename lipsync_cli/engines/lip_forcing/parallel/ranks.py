"""The transformer of Lip Forcing on several devices: one helper process for each device beyond the first.

The process that dubs is rank 0. It alone reads files and writes the result; helpers are told what to do message by
message, get weights and inputs from it, and give back their share of every pass (see ``nn/lip_forcing/token_split``).
They end when told to, or when rank 0 is gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from enum import IntEnum
from itertools import count
from typing import Any, TextIO

import torch
import torch.distributed as dist
from torch import Tensor

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.engines.lip_forcing.nn.cache import StreamCache, TextKeysValues
from lipsync_cli.engines.lip_forcing.nn.transformer import ChunkCondition, LipForcingTransformer
from lipsync_cli.engines.lip_forcing.parallel.token_split import TokenSplit

HOST = "127.0.0.1"
HEADER = 6
PATIENCE = timedelta(hours=12)
"""How long a helper waits for the next message: as long as a live input may pause. A rank that ends is noticed."""
START_S, END_S = 120, 10


class Do(IntEnum):
    """First number of a message; the others are its arguments."""

    STOP = 0
    MODULATION = 1  # wide
    TEXT = 2  # tokens
    BEGIN = 3  # stream, rows and columns of latents
    PREDICT = 4  # stream, frames, rows, columns
    ADVANCE = 5  # stream, frames
    FORGET = 6  # stream


class SharedTransformer:
    """A ``LipForcingTransformer`` whose passes are shared with helper processes; used like one on its own.

    A rank that fails is an EnvironmentProblem at the next pass. ``close`` ends the helpers; so does letting go.
    """

    def __init__(self, network: LipForcingTransformer, devices: int, *, float8: bool, compile: bool) -> None:
        """``network`` is on its device, its linear layers not yet quantised; both options apply to helpers alone."""
        self.config, self.dtype, self.device = network.config, network.dtype, network.device
        self._network, self._numbers = network, count()
        self._helpers = Helpers(network, devices, {"float8": float8, "compile": compile})
        self.close = weakref.finalize(self, self._helpers.close)
        with self._helpers.watched():
            for parameter in network.parameters():
                dist.broadcast(parameter.detach(), 0)
        network.split = TokenSplit()
        self._streams: weakref.WeakKeyDictionary[StreamCache, int] = weakref.WeakKeyDictionary()
        self._gone: list[int] = []

    def set_wide_modulation(self, wide: bool) -> None:
        """As the network's own."""
        with self._helpers.watched():
            self._helpers.tell(Do.MODULATION, int(wide))
        self._network.set_wide_modulation(wide)

    def read_text(self, text: Tensor) -> TextKeysValues:
        """As the network's own; the text of all streams that are opened later."""
        with self._helpers.watched():
            self._helpers.tell(Do.TEXT, text.shape[1])
            dist.broadcast(text.to(self.device, self.dtype).contiguous(), 0)
        return self._network.read_text(text)

    def open_stream(self, text: TextKeysValues, size: tuple[int, int]) -> StreamCache:
        """As the network's own; every rank keeps the past of its own heads."""
        cache = self._network.open_stream(text, size)
        number = self._streams[cache] = next(self._numbers)
        weakref.finalize(cache, self._gone.append, number).atexit = False
        with self._helpers.watched():
            while self._gone:
                self._helpers.tell(Do.FORGET, self._gone.pop())
            self._helpers.tell(Do.BEGIN, number, *size)
        return cache

    def predict(self, x: Tensor, t: Tensor, condition: ChunkCondition, cache: StreamCache) -> Tensor:
        """As the network's own."""
        with self._helpers.watched():
            self._helpers.tell(Do.PREDICT, self._streams[cache], x.shape[1], *x.shape[-2:])
            for tensor in _inputs(x, t, condition, self.dtype):
                dist.broadcast(tensor, 0)
            return self._network.predict(x, t, condition, cache)

    def commit(self, x0: Tensor, condition: ChunkCondition, cache: StreamCache) -> None:
        """As the network's own."""
        self.predict(x0, torch.zeros(x0.shape[:2], device=x0.device), condition, cache)
        with self._helpers.watched():
            self._helpers.tell(Do.ADVANCE, self._streams[cache], x0.shape[1])
        cache.advance(x0.shape[1])


def _inputs(x: Tensor, t: Tensor, condition: ChunkCondition, dtype: torch.dtype) -> list[Tensor]:
    """What a pass needs, in the types helpers expect."""
    parts = [x.to(dtype), t.float(), condition.visual.to(dtype), condition.speech.to(dtype)]
    return [part.contiguous() for part in parts]


class Helpers:
    """The other ranks: started, told what to do, watched, ended."""

    def __init__(self, network: LipForcingTransformer, devices: int, options: dict[str, bool]) -> None:
        self._device, self._failed, self._in_step = network.device, "", True
        self._errors: list[TextIO] = []
        store = dist.TCPStore(HOST, 0, devices, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
        job = {
            "port": store.port,
            "devices": devices,
            "device": network.device.type,
            "dtype": str(network.dtype).removeprefix("torch."),
            "config": asdict(network.config),
            "threads": torch.get_num_threads(),
            **options,
        }
        self._processes = [self._start({**job, "rank": rank}) for rank in range(1, devices)]
        for process in self._processes:
            threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        self._await(store)
        join_group(store, 0, devices, network.device)

    def _await(self, store: Any) -> None:
        """Until every helper is ready to join; the group itself would wait for one that has already failed."""
        until = time.monotonic() + START_S
        while not store.check([ready_key(rank) for rank in range(1, len(self._processes) + 1)]):
            late = time.monotonic() > until
            if late or any(process.poll() is not None for process in self._processes):
                said = self._dead() or f"The devices were not ready after {START_S} s."
                self._failed = said
                self.close()
                raise EnvironmentProblem(said, hint="Try again, or with --option devices=1.")
            time.sleep(0.05)

    def _start(self, job: dict[str, Any]) -> subprocess.Popen[str]:
        errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - lives as long as it
        self._errors.append(errors)
        command = [sys.executable, "-m", "lipsync_cli.engines.lip_forcing.parallel.worker", json.dumps(job)]
        # A session of its own: an interrupt is for rank 0, which then ends its helpers.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            start_new_session=True,
        )

    @property
    def pids(self) -> list[int]:
        """Process ids of ranks 1, 2, …"""
        return [process.pid for process in self._processes]

    def tell(self, what: Do, *numbers: int) -> None:
        """Send a message to all helpers; inside ``watched``."""
        padded = [what, *numbers, *[0] * (HEADER - 1 - len(numbers))]
        dist.broadcast(torch.tensor(padded, dtype=torch.int64, device=self._device), 0)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turn a failed exchange into a sentence about the rank that failed."""
        if self._failed:
            raise EnvironmentProblem(self._failed, hint="Try again, or with --option devices=1.")
        try:
            yield
        except RuntimeError as error:
            self._in_step = False
            self._failed = self._dead(wait_s=1) or self._lost(error)
            if not self._failed:
                raise
            raise EnvironmentProblem(self._failed, hint="Try again, or with --option devices=1.") from error
        except BaseException:
            self._in_step = False
            raise

    def _dead(self, wait_s: float = 0) -> str:
        """A sentence about a helper that has ended, which may show a little later than its silence; else nothing."""
        for rank, process in enumerate(self._processes, 1):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=wait_s)
            if process.returncode is not None:
                errors = self._errors[rank - 1]
                errors.seek(0)
                last = (errors.read().strip().splitlines() or ["it left no message"])[-1]
                return f"Device {rank} of {len(self._processes) + 1} ended with {process.returncode}: {last}."
        return ""

    @staticmethod
    def _lost(error: Exception) -> str:
        if not isinstance(error, dist.DistError):
            return ""
        return f"The devices lost touch with each other: {(str(error).splitlines() or [''])[0]}."

    def _watch(self, process: subprocess.Popen[str]) -> None:
        """Free rank 0 from an exchange that a helper will never join; over sockets it notices by itself."""
        if process.wait() and self._device.type == "cuda" and dist.is_initialized():
            with suppress(Exception):
                dist.distributed_c10d._abort_process_group()

    def close(self) -> None:
        """End every helper: by word if all ranks are between two messages, else by force. Safe to call twice."""
        if self._in_step and dist.is_initialized() and all(process.poll() is None for process in self._processes):
            with suppress(RuntimeError):
                self.tell(Do.STOP)
                dist.destroy_process_group()  # helpers do so now; over NCCL all have to
        else:
            for process in self._processes:
                process.kill()
        self._in_step = False
        for process, errors in zip(self._processes, self._errors, strict=True):
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(timeout=END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            errors.close()
        if dist.is_initialized():
            with suppress(RuntimeError):
                dist.destroy_process_group()


def ready_key(rank: int) -> str:
    """What a helper writes into the group's store when it is ready to join."""
    return f"ready {rank}"


def join_group(store: Any, rank: int, devices: int, device: torch.device) -> None:
    """Become rank ``rank`` of ``devices``, over NVLink and the like for GPUs, over sockets for CPUs."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    store.set_timeout(timedelta(seconds=START_S))
    dist.init_process_group(backend, store=store, rank=rank, world_size=devices, timeout=PATIENCE)
