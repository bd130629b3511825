"""From a model's name to a generator that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lipsync_cli import hub
from lipsync_cli.errors import EnvironmentProblem, ModelError, UsageError
from lipsync_cli.generate.passthrough import Passthrough

if TYPE_CHECKING:
    import torch

    from lipsync_cli.generate.protocol import Generator


def load_generator(
    card: hub.ModelCard, *, device: str = "auto", dtype: str = "auto", threads: int = 0, parity: bool = False
) -> Generator[Any]:
    """The generator a model card describes, with its weights verified and loaded; 0 threads means torch's choice.

    ``parity`` asks for the numerics of the model's own release. Raises ModelError for missing, damaged or foreign
    weights, EnvironmentProblem for a device that is not there, UsageError where there is no release to follow.
    """
    if parity and card.kind != "lip-forcing":
        raise UsageError(
            f"--parity follows the numerics of another release; model {card.name} has none but this one.",
            hint="Leave it out, or choose a Lip Forcing model.",
        )
    if card.kind == "passthrough":
        return Passthrough()
    if card.kind not in ("lip-forcing-mini", "lip-forcing"):
        raise ModelError(
            f"Model {card.name} is of kind {card.kind!r}, which this version of lipsync cannot run.",
            hint="See 'lipsync models list' for the models that can.",
        )
    import torch

    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    if card.kind == "lip-forcing":
        return _lip_forcing(card, torch.device(chosen), choose_dtype(dtype, chosen), parity=parity)
    from lipsync_cli.generate import mini

    hub.require_version(card, kind=mini.KIND, version=mini.VERSION)
    config = mini.read_config(card.generator, model=card.name)
    networks = mini.load_networks(hub.resolve_weights(card, "networks"), config)
    return mini.LipForcingMini(networks, config, device=chosen, dtype=choose_dtype(dtype, chosen), name=card.name)


def _lip_forcing(card: hub.ModelCard, device: torch.device, dtype: torch.dtype, *, parity: bool) -> Generator[Any]:
    from lipsync_cli.generate.lip_forcing.config import KIND, VERSION, read_config
    from lipsync_cli.generate.lip_forcing.generator import LipForcing
    from lipsync_cli.generate.lip_forcing.load import load_networks

    hub.require_version(card, kind=KIND, version=VERSION)
    config = read_config(card.generator, model=card.name)
    networks = load_networks(card, config, device=device, dtype=dtype)
    return LipForcing(networks, config, name=card.name, release=parity)


def choose_device(device: str) -> str:
    """``auto`` becomes cuda, then mps, then cpu; a device asked for by name must exist."""
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
