"""From a model's name to a generator that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lipsync_cli import hub
from lipsync_cli.errors import EnvironmentProblem, ModelError
from lipsync_cli.generate.passthrough import Passthrough

if TYPE_CHECKING:
    import torch

    from lipsync_cli.generate.protocol import Generator


def load_generator(
    card: hub.ModelCard, *, device: str = "auto", dtype: str = "auto", threads: int = 0
) -> Generator[Any]:
    """The generator a model card describes, with its weights verified and loaded; 0 threads means torch's choice.

    Raises ModelError for missing, damaged or foreign weights, EnvironmentProblem for a device that is not there.
    """
    if card.kind == "passthrough":
        return Passthrough()
    if card.kind != "lip-forcing-mini":
        raise ModelError(
            f"Model {card.name} is of kind {card.kind!r}, which this version of lipsync cannot run.",
            hint="See 'lipsync models list' for the models that can.",
        )
    import torch

    from lipsync_cli.generate import mini

    hub.require_version(card, kind=mini.KIND, version=mini.VERSION)
    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    config = mini.read_config(card.generator, model=card.name)
    networks = mini.load_networks(hub.resolve_weights(card, "networks"), config)
    return mini.LipForcingMini(networks, config, device=chosen, dtype=choose_dtype(dtype, chosen), name=card.name)


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
    """``auto`` is bfloat16 where the hardware multiplies it natively, float32 elsewhere.

    On a CPU without bf16 instructions convolutions in bfloat16 are several times slower than in float32.
    """
    import torch

    if dtype != "auto":
        return torch.bfloat16 if dtype == "bfloat16" else torch.float32
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.float32
