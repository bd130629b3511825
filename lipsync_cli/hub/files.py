"""Files of models that do not come with the package: where they are kept, how they get there, and their digests.

A file on the Hugging Face hub lives in the hub's own cache, one on the web in ours, under its sha256. Nothing is
fetched unless it was asked for in so many words: the large models are tens of gigabytes.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import urllib.request
from pathlib import Path
from typing import Any

from lipsync_cli.core.errors import EnvironmentProblem, ModelError

REMEMBERED_BYTES = 64_000_000
"""Digests of files from this size on are remembered until the file changes; hashing 28 GB takes a minute."""
BLOCK = 1 << 20


def cache_folder() -> Path:
    """Where files that can be fetched or made again are kept; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "lipsync"


def on_hub(repository: str, revision: str, path: str) -> Path | None:
    """The file in the hub's cache, None where it has not been downloaded."""
    found = _hub(repository).try_to_load_from_cache(repository, path, revision=revision)
    return Path(found) if isinstance(found, str) else None


def fetch_from_hub(repository: str, revision: str, path: str, *, again: bool = False) -> Path:
    """Download a file at a pinned commit, ``again`` even if it is there.

    The library shows its progress and honours ``HF_HUB_OFFLINE``.
    """
    hub = _hub(repository)
    try:
        return Path(hub.hf_hub_download(repository, path, revision=revision, force_download=again))
    except Exception as error:  # the library has many error classes, all of which mean the same here
        raise ModelError(
            f"{path} could not be fetched from {repository}: {error}",
            hint="Check the connection, or download the model and give its folder to --model.",
        ) from error


def on_web(url: str, sha256: str) -> Path:
    """Where the file of an https address is kept; it need not be there."""
    return cache_folder() / "files" / sha256[:16] / url.rsplit("/", 1)[-1]


def fetch_from_web(url: str, sha256: str) -> Path:
    """Download a file of an https address to its place; its bytes are for the caller to check."""
    target = on_web(url, sha256)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=30) as source, partial.open("wb") as file:
            shutil.copyfileobj(source, file, BLOCK)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ModelError(
            f"{url} could not be fetched: {error}", hint="Check the connection, or put the file there yourself."
        ) from error
    return target


def digest(path: Path, *, afresh: bool) -> str:
    """The file's sha256; unless ``afresh``, that of a large file may be one worked out before it last changed."""
    stat = path.stat()
    stamp = [stat.st_size, stat.st_mtime_ns]
    key, known = str(path.resolve()), _remembered()
    if not afresh and stat.st_size >= REMEMBERED_BYTES and known.get(key, {}).get("stamp") == stamp:
        return str(known[key]["sha256"])
    with path.open("rb") as file:
        value = hashlib.file_digest(file, "sha256").hexdigest()
    if stat.st_size >= REMEMBERED_BYTES:
        _remember({**known, key: {"stamp": stamp, "sha256": value}})
    return value


def _memory() -> Path:
    return cache_folder() / "digests.json"


def _remembered() -> dict[str, Any]:
    try:
        content = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(content: dict[str, Any]) -> None:
    """Best effort: without a cache large files are hashed every time."""
    partial = _memory().with_name(f"digests.{os.getpid()}.part")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        partial.replace(_memory())
    except OSError:
        partial.unlink(missing_ok=True)


def _hub(repository: str) -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise EnvironmentProblem(
            f"{repository} is on the Hugging Face hub, and huggingface_hub is not installed.",
            hint="Run: pip install huggingface_hub",
        ) from error
