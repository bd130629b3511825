"""The checks behind ``lipsync doctor``: each looks at one thing and says what to do if it is wrong."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lipsync_cli.core.errors import LipsyncError

Status = Literal["ok", "warn", "fail"]
ROOM_MB = 500


@dataclass(frozen=True, slots=True)
class CheckRow:
    """The outcome of one check; ``fix`` is what to do about it."""

    name: str
    status: Status
    detail: str
    fix: str = ""


Check = Callable[[], CheckRow]


def guarded_rows(checks: dict[str, Check]) -> Iterator[CheckRow]:
    """Run checks one after another; one that breaks is a row that fails, not the end."""
    for name, check in checks.items():
        try:
            yield check()
        except LipsyncError as error:
            yield CheckRow(name, "fail", error.message, error.hint)
        except Exception as error:  # a check must not keep the others from being made
            yield CheckRow(
                name, "fail", f"{type(error).__name__}: {error}", "Reinstall lipsync-cli in a fresh environment."
            )


def python() -> CheckRow:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    known = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return CheckRow("python", "ok" if known else "warn", version, "" if known else "Use Python 3.11, 3.12 or 3.13.")


def packages() -> CheckRow:
    """Every package lipsync-cli asks for, and that it is there."""
    required = importlib.metadata.requires("lipsync-cli") or []
    names = [_distribution_name(text) for text in required if "extra ==" not in text]
    versions = {name: _version(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return CheckRow("packages", "fail", f"missing: {', '.join(missing)}", f"Run: pip install {' '.join(missing)}")
    return CheckRow("packages", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _distribution_name(requirement: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else " " for c in requirement).split()[0]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def device() -> CheckRow:
    """Where torch would run the model."""
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return CheckRow("device", "ok", f"cuda: {torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        return CheckRow("device", "ok", "mps")
    return CheckRow(
        "device", "ok", f"cpu, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    )


def arithmetic() -> CheckRow:
    """How bfloat16 compares with float32 in speed, measured on a small product."""
    torch = importlib.import_module("torch")
    where = "cuda" if torch.cuda.is_available() else "cpu"
    single, half = (_product_seconds(torch, where, dtype) for dtype in (torch.float32, torch.bfloat16))
    return CheckRow("bfloat16", "ok", f"{single / half:.1f}× the speed of float32 on {where}")


def _product_seconds(torch: Any, where: str, dtype: Any) -> float:
    matrix = torch.ones(384, 384, dtype=dtype, device=where)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        (matrix @ matrix).sum().item()
        best = min(best, time.perf_counter() - began)
    return best


def temporary_folder() -> CheckRow:
    """Room for temporary files."""
    folder = Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"lipsync")
    free = shutil.disk_usage(folder).free / 1e6
    enough = free > ROOM_MB
    fix = "" if enough else "Make room, or set TMPDIR to a folder on a larger disk."
    return CheckRow("temporary folder", "ok" if enough else "warn", f"{folder}, {free / 1e3:.1f} GB free", fix)


def cache_folder() -> CheckRow:
    """That the hub's cache, if it is needed, can be written; it need not exist."""
    base = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    folder = base.expanduser()
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if os.access(nearest, os.W_OK):
        return CheckRow("cache folder", "ok", str(folder))
    return CheckRow("cache folder", "warn", f"{folder} cannot be written", "Set HF_HOME to a folder that can be.")


def settings() -> CheckRow:
    """The user's file and environment."""
    from lipsync_cli.settings import config_path, resolve_settings, suggest_variable, unknown_variables

    resolve_settings(None, {})
    unknown = unknown_variables()
    if unknown:
        return CheckRow("settings", "warn", f"unknown variable {unknown[0]}", suggest_variable(unknown[0]))
    path = config_path(os.environ)
    return CheckRow("settings", "ok", str(path) if path.is_file() else "no settings file, which is fine")


def models() -> CheckRow:
    """Every installed model against its card."""
    from lipsync_cli import hub

    cards = hub.list_models()
    local = [card for card in cards if not any(hub.is_remote(weights) for weights in card.weights)]
    bad = [check for card in local for check in hub.verify(card) if check.state != "ok"]
    if bad:
        return CheckRow("models", "fail", f"{bad[0].model} {bad[0].role}: {bad[0].detail}", hub.REINSTALL)
    from lipsync_cli.settings import DubSettings

    default = DubSettings().model
    if default not in {card.name for card in cards}:
        return CheckRow("models", "fail", f"the default model {default} is not installed", hub.REINSTALL)
    return CheckRow("models", "ok", ", ".join(f"{card.name} {card.version}" for card in local))


def landmarks() -> CheckRow:
    """dlib and the face models it uses."""
    dlib, files = (importlib.import_module(name) for name in ("dlib", "face_recognition_models"))
    dlib.shape_predictor(files.pose_predictor_model_location())
    return CheckRow("dlib", "ok", f"{dlib.__version__}, 68-point model loads")
