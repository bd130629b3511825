"""What computer this is."""

from __future__ import annotations

import platform
from pathlib import Path


def cpu_name() -> str:
    """What the processor calls itself, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
