"""From --device and --dtype to a runtime; joins the other processes where accelerate or torchrun started several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lipsync_cli.core.errors import EnvironmentProblem, UsageError
from lipsync_cli.engines.devices import choose_device
from lipsync_cli.training.common.runtime import Runtime
from lipsync_cli.training.common.tensorboard import Board

DTYPES = ("auto", "float32", "bfloat16")
_SHARDED = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}


@contextmanager
def started(device: str = "auto", dtype: str = "auto", *, board: Path | None = None) -> Iterator[Runtime]:
    """The runtime of this process, until the work is done; the main one writes for TensorBoard into ``board``.

    ``dtype`` auto is float32, on CUDA with TF32 products; float32 is exact there too; bfloat16 lets the networks
    compute in it and keeps weights, mouth points and losses in float32. Raises UsageError for what cannot be meant,
    EnvironmentProblem for what is not there.
    """
    if dtype not in DTYPES:
        raise UsageError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = torch.device(training_device(device))
    rank, kind = 0, torch.bfloat16 if dtype == "bfloat16" else torch.float32
    if chosen.type == "cuda":
        torch.set_float32_matmul_precision("highest" if dtype == "float32" else "high")
        torch.backends.cudnn.allow_tf32 = dtype != "float32"
    if processes > 1:
        rank, chosen = _join(chosen)
    writer = Board(board) if board is not None and rank == 0 else None
    try:
        yield Runtime(chosen, kind, rank, processes, processes, writer)
    finally:
        if writer is not None:
            writer.close()
    if processes > 1:  # after a failure this could wait for the others for ever; whoever started them ends them
        _leave()


def training_device(device: str) -> str:
    """``auto`` is cuda where there is one and cpu elsewhere; cuda:N is GPU N."""
    name, _, number = device.partition(":")
    if name not in ("auto", "cpu", "cuda") or (number and (name != "cuda" or not number.isdecimal())):
        raise UsageError(f"--device must be auto, cpu, cuda or cuda:N, got {device!r}.")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"  # nobody has trained on mps yet
    choose_device(name)
    if number and int(number) >= torch.cuda.device_count():
        raise EnvironmentProblem(
            f"There is no {device} here: CUDA devices are numbered 0 to {torch.cuda.device_count() - 1}.",
            hint="Use --device auto.",
        )
    return device


def _join(device: torch.device) -> tuple[int, torch.device]:
    """This process's number and its own device."""
    for variable, name in _SHARDED.items():
        if os.environ.get(variable, "").lower() == "true":
            raise UsageError(
                f"{name} shards weights, and training here averages gradients of whole networks.",
                hint="Start it with accelerate launch --multi_gpu, or with torchrun.",
            )
    if device.index is not None:
        raise UsageError(f"Several processes cannot all compute on {device}.", hint="Use --device cuda.")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if device.type == "cuda" and local > torch.cuda.device_count():
        raise EnvironmentProblem(
            f"{local} processes need as many GPUs, and there are {torch.cuda.device_count()}.",
            hint="Start fewer processes, or use --device cpu.",
        )
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise EnvironmentProblem(
            "Training in several processes needs the package accelerate, which is not installed.",
            hint="Install it: pip install 'lipsync-cli[train]'.",
        ) from error
    state = PartialState(cpu=device.type == "cpu")
    return state.process_index, state.device


def _leave() -> None:
    from accelerate import PartialState

    PartialState().destroy_process_group()
