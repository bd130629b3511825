"""Reading weight files: safetensors, and torch files without running any code that might be in them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lipsync_cli.core.errors import ModelError
from lipsync_cli.nn.checking import check_state_dict

Network = TypeVar("Network", bound=nn.Module)

# Training frameworks nest the state dict and prefix its keys.
WRAPPERS = ("model", "module", "net", "state_dict", "model_state_dict", "generator")
PREFIXES = ("_core.", "model.", "module.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The flat state dict in a ``.safetensors`` or a torch file, mapped from the disk rather than read.

    Wrappers such as ``{"model": {"net": …}}`` and prefixes such as ``_core.`` are taken off. Raises ModelError for
    a file that is no checkpoint, is cut short, or holds more than tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, "safetensors file", error) from error
    return _without_prefix(_unwrapped(_torch_load(path), path))


def read_note(path: Path, name: str) -> Any:
    """What a torch file says under ``name`` beside its weights; None where it says nothing. Raises as above."""
    content = None if path.suffix == ".safetensors" else _torch_load(path)
    return content.get(name) if isinstance(content, Mapping) else None


def load_strictly(
    network: Callable[[], Network], path: Path, *, rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
) -> Network:
    """A network with the tensors of ``path`` in the file's own type; nothing is ever allocated twice.

    ``network`` builds it and is called on the meta device; ``rename`` maps the file's keys to the network's. Keys
    and shapes must agree exactly: ModelError lists the first that do not.
    """
    with torch.device("meta"):
        made = network()
    tensors = rename(read_tensors(path))
    expected = made.state_dict()
    check_state_dict({key: value.shape for key, value in expected.items()}, tensors, path)
    made.load_state_dict(tensors, strict=True, assign=True)
    _restore_buffers(made, network)
    return made.requires_grad_(False).eval()


def _restore_buffers(made: nn.Module, network: Callable[[], nn.Module]) -> None:
    """Fill buffers that are not saved, which the meta device left empty, from a second, small build."""
    empty = [name for name, buffer in made.named_buffers() if buffer.is_meta]
    if not empty:
        return
    whole = dict(network().named_buffers())
    for name in empty:
        owner, _, leaf = name.rpartition(".")
        made.get_submodule(owner).register_buffer(leaf, whole[name], persistent=False)


def _torch_load(path: Path) -> Any:
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            # Files older than torch's zip format cannot be mapped.
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, BadZipFile, pickle.UnpicklingError) as error:
        raise _unreadable(path, "torch checkpoint", error) from error


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
        inner = next((content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if tensors or inner is None:
            break
        content = inner
    else:
        tensors = {}
    if not tensors:
        raise ModelError(
            f"{path} holds no weights.", hint="A state dict, a mapping of names to tensors, is expected."
        )
    return tensors


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            return _without_prefix({key.removeprefix(prefix): value for key, value in tensors.items()})
    return tensors


def _unreadable(path: Path, what: str, error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(
        f"{path} is no readable {what}: {reason}", hint="It may be incomplete, or of another kind; fetch it again."
    )
