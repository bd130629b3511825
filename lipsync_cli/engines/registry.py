"""From a model's name to a generator that runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lipsync_cli import hub
from lipsync_cli.core.errors import EnvironmentProblem, ModelError, UsageError
from lipsync_cli.engines.passthrough import Passthrough

if TYPE_CHECKING:
    import torch

    from lipsync_cli.engines.lip_forcing.load import Speed
    from lipsync_cli.engines.mini.adapter import Adapter
    from lipsync_cli.engines.protocol import Generator

LARGE = ("lip-forcing", "latentsync", "omnisync")
"""Kinds whose speed can be measured without their weights."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model is to sample where that is not left to its card; 0, ``model`` and "" leave it there.

    ``options`` (NAME=VALUE,…) are those of OmniSync models, the others of LatentSync models.
    """

    solver: str = "model"
    steps: int = 0
    guidance: float = 0.0
    reuse: int = 0
    options: str = ""

    def chosen(self) -> dict[str, Any]:
        """What is not left to the card of a LatentSync model."""
        values = asdict(self)
        del values["options"]
        return {name: value for name, value in values.items() if value not in (0, "model")}


BY_CARD = Sampling()


def load_generator(
    card: hub.ModelCard,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
    drawers: int = 1,
    parity: bool = False,
    compile: bool = False,
    graphs: bool = False,
    devices: int = 1,
    crop_encoder: str = "model",
    crop_size: int = 0,
    sampling: Sampling = BY_CARD,
    adapter: Adapter | None = None,
    random_weights: bool = False,
) -> Generator[Any]:
    """The generator a model card describes, with its weights verified and loaded.

    0 ``threads`` means torch's choice, 0 ``crop_size`` the model's; large models have one size and ignore it.
    ``drawers`` are threads that draw side by side where the embedded model runs on a CPU.

    ``parity`` asks for the numerics of the model's own release; ``compile`` for torch's compiler, ``graphs`` for
    recorded passes, ``devices`` for several GPUs and ``crop_encoder`` for another encoder where a model has a use for
    them; ``sampling`` changes how a model samples that leaves it open, ``adapter`` the weights to suit one video.
    ``random_weights`` need no files and are for measuring speed. Raises ModelError for missing, damaged or foreign
    weights, EnvironmentProblem for a device that is not there or too small, UsageError for what the model cannot do.
    """
    _check_options(card, dtype, parity=parity, devices=devices, sampling=sampling, random_weights=random_weights)
    if card.kind == "passthrough":
        return Passthrough()
    if card.kind not in ("lip-forcing-mini", *LARGE):
        raise ModelError(
            f"Model {card.name} is of kind {card.kind!r}, which this version of lipsync cannot run.",
            hint="See 'lipsync models list' for the models that can.",
        )
    import torch

    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    if card.kind == "lip-forcing":
        if crop_encoder != "model":
            card = card.model_copy(update={"generator": {**card.generator, "encoder": crop_encoder}})
        from lipsync_cli.engines.lip_forcing.load import Speed

        speed = Speed(float8=dtype == "float8", compile=compile, graphs=graphs, devices=devices)
        kind = choose_dtype(dtype, chosen)
        return _lip_forcing(card, torch.device(chosen), kind, speed, parity=parity, random_weights=random_weights)
    if card.kind == "latentsync":
        card = card.model_copy(update={"generator": {**card.generator, **sampling.chosen()}})
        kind = choose_dtype(dtype, chosen)
        return _latentsync(card, torch.device(chosen), kind, parity=parity, random_weights=random_weights)
    if card.kind == "omnisync":
        kind = choose_dtype(dtype, chosen)
        return _omnisync(card, torch.device(chosen), kind, sampling.options, random_weights=random_weights)
    from lipsync_cli.engines.mini import config as mini_config
    from lipsync_cli.engines.mini import generator as mini
    from lipsync_cli.engines.mini.adapter import apply_adapter

    networks, config = mini.load_model(card)
    if crop_size:
        config = mini_config.with_crop_size(config, crop_size)
    if adapter is not None:
        apply_adapter(networks, adapter)
    kind = choose_dtype(dtype, chosen)
    return mini.LipForcingMini(networks, config, device=chosen, dtype=kind, name=card.name, drawers=drawers)


def _check_options(
    card: hub.ModelCard, dtype: str, *, parity: bool, devices: int, sampling: Sampling, random_weights: bool
) -> None:
    if sampling.options and card.kind != "omnisync":
        raise UsageError(f"Model {card.name} has no sampling options.", hint="Leave out sampling.")
    if random_weights and card.kind not in LARGE:
        raise UsageError(f"Model {card.name} comes with its weights.", hint="Leave out --random-weights.")
    if card.kind == "lip-forcing":
        return
    if parity and card.kind != "latentsync":
        raise UsageError(
            f"--parity follows the numerics of another release; model {card.name} has none but this one.",
            hint="Leave it out, or choose a Lip Forcing or LatentSync model.",
        )
    if dtype == "float8":
        raise UsageError(f"Model {card.name} has no eight-bit arithmetic.", hint="Leave dtype at auto.")
    if devices > 1:
        raise UsageError(f"Model {card.name} runs on one device.", hint="Leave devices at 1.")


def _omnisync(
    card: hub.ModelCard, device: torch.device, dtype: torch.dtype, options: str, *, random_weights: bool
) -> Generator[Any]:
    from lipsync_cli.engines.omnisync.config import KIND, VERSION, read_config, with_sampling
    from lipsync_cli.engines.omnisync.generator import OmniSync
    from lipsync_cli.engines.omnisync.load import load_networks, random_networks, require_room

    hub.require_version(card, kind=KIND, version=VERSION)
    read_config(card.generator, model=card.name)  # what is wrong with the card is not the fault of who samples
    config = read_config(with_sampling(card.generator, options, model=card.name), model=card.name)
    require_room(config, name=card.name, device=device, dtype=dtype)
    if random_weights:
        networks = random_networks(config, device=device, dtype=dtype)
    else:
        networks = load_networks(card, config, device=device, dtype=dtype)
    return OmniSync(networks, config, name=card.name)


def _lip_forcing(
    card: hub.ModelCard, device: torch.device, dtype: torch.dtype, speed: Speed, *, parity: bool, random_weights: bool
) -> Generator[Any]:
    from lipsync_cli.engines.lip_forcing.config import KIND, VERSION, read_config
    from lipsync_cli.engines.lip_forcing.generator import LipForcing
    from lipsync_cli.engines.lip_forcing.load import (
        accelerate,
        check_speed,
        load_networks,
        random_networks,
        require_files,
    )
    from lipsync_cli.engines.memory import require_room

    hub.require_version(card, kind=KIND, version=VERSION)
    config = read_config(card.generator, model=card.name)
    check_speed(config, speed)
    _require_devices(device.type, speed.devices)
    if not random_weights:
        require_files(card, config)
    require_room(config, name=card.name, device=device, dtype=dtype, devices=speed.devices)
    if random_weights:
        networks = random_networks(config, device=device, dtype=dtype)
    else:
        networks = load_networks(card, config, device=device, dtype=dtype)
    return LipForcing(accelerate(networks, speed), config, name=card.name, release=parity)


def _latentsync(
    card: hub.ModelCard, device: torch.device, dtype: torch.dtype, *, parity: bool, random_weights: bool
) -> Generator[Any]:
    from lipsync_cli.engines.latentsync.config import KIND, VERSION, read_config
    from lipsync_cli.engines.latentsync.generator import LatentSync
    from lipsync_cli.engines.latentsync.load import load_networks, random_networks, require_files, require_room

    hub.require_version(card, kind=KIND, version=VERSION)
    config = read_config(card.generator, model=card.name)
    if not random_weights:
        require_files(card, config)
    require_room(config, name=card.name, device=device, dtype=dtype)
    if random_weights:
        networks = random_networks(config, device=device, dtype=dtype)
    else:
        networks = load_networks(card, config, device=device, dtype=dtype)
    return LatentSync(networks, config, name=card.name, release=parity)


def _require_devices(kind: str, wanted: int) -> None:
    """Several GPUs must be there; on a CPU as many processes take their place, which only tests have a use for."""
    import torch

    present = torch.cuda.device_count() if kind == "cuda" else wanted if kind == "cpu" else 1
    if wanted > present:
        raise EnvironmentProblem(
            f"{wanted} devices were asked for, and there are {present} ({kind}).",
            hint=f"Use --set devices={present}.",
        )


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
    """``auto`` is bfloat16 where the hardware multiplies it natively, float32 elsewhere; so is what is around float8.

    On a CPU without bf16 instructions convolutions in bfloat16 are several times slower than in float32.
    """
    import torch

    if dtype != "auto":
        return torch.float32 if dtype == "float32" else torch.bfloat16
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.float32
