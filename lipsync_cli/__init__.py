"""Dub a video: the same picture, with the mouth speaking another audio track.

What is named here is the Python interface; ``lipsync_cli.api`` describes it. Each name is imported when it is first
used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipsync_cli.api import dub, dub_frames, evaluate, inspect, load_model
    from lipsync_cli.core.errors import (
        EnvironmentProblem,
        InputError,
        LipsyncError,
        ModelError,
        NoFaceError,
        OutputError,
        UsageError,
    )
    from lipsync_cli.core.threads import calm_threads
    from lipsync_cli.dubbing.model import LoadedModel
    from lipsync_cli.dubbing.report import DubReport
    from lipsync_cli.inspection import Inspection
    from lipsync_cli.settings import DubSettings

__version__ = "0.2.0"

__all__ = [
    "DubReport",
    "DubSettings",
    "EnvironmentProblem",
    "InputError",
    "Inspection",
    "LipsyncError",
    "LoadedModel",
    "ModelError",
    "NoFaceError",
    "OutputError",
    "UsageError",
    "__version__",
    "calm_threads",
    "dub",
    "dub_frames",
    "evaluate",
    "inspect",
    "load_model",
]

_MODULES = {
    "lipsync_cli.api": ("dub", "dub_frames", "evaluate", "inspect", "load_model"),
    "lipsync_cli.core.errors": (
        "EnvironmentProblem", "InputError", "LipsyncError", "ModelError", "NoFaceError", "OutputError", "UsageError",
    ),
    "lipsync_cli.core.threads": ("calm_threads",),
    "lipsync_cli.dubbing.model": ("LoadedModel",),
    "lipsync_cli.dubbing.report": ("DubReport",),
    "lipsync_cli.inspection": ("Inspection",),
    "lipsync_cli.settings": ("DubSettings",),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """A name of the interface, imported from its module."""
    for module, names in _MODULES.items():
        if name in names:
            value = globals()[name] = getattr(importlib.import_module(module), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
