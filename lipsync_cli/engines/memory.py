"""Whether a machine has memory for a model, found out before anything is allocated."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lipsync_cli.core.errors import EnvironmentProblem

COUNT_IT = "Use a larger device or a smaller model; lipsync models cost counts what a model needs."
MEMINFO = Path("/proc/meminfo")
CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def require_memory(
    needed: float, *, name: str, what: str, device: torch.device, dtype: torch.dtype, hint: str = COUNT_IT
) -> None:
    """EnvironmentProblem when ``device`` has less free memory than ``needed`` bytes, which ``what`` takes.

    That is the least a model needs; what it computes with comes on top.
    """
    free = free_bytes(device)
    if free is None or needed <= free:
        return
    raise EnvironmentProblem(
        f"Model {name} needs {needed / 1e9:.1f} GB of memory for {what} in "
        f"{str(dtype).removeprefix('torch.')}, and {device.type} has {free / 1e9:.1f} GB free.",
        hint=hint,
    )


def free_bytes(device: torch.device) -> int | None:
    """Memory that can be had on ``device``, limits of a container included; None where nothing tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu" or sys.platform == "win32":
        return None
    known = [left for left in (_system_bytes(), *(_group_bytes(*paths) for paths in CGROUPS)) if left is not None]
    return min(known, default=None)


def _system_bytes() -> int | None:
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def _group_bytes(limit: Path, used: Path) -> int | None:
    """What a container may still take; its limit reads ``max`` where there is none."""
    try:
        return max(0, int(limit.read_text(encoding="ascii")) - int(used.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return None
