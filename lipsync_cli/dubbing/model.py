"""A model that is loaded once and dubs any number of videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lipsync_cli.compositing.backend import composites_on_device
from lipsync_cli.core.concurrency import cores
from lipsync_cli.core.errors import UsageError
from lipsync_cli.dubbing.plan import PicturePlan
from lipsync_cli.engines.protocol import Generator
from lipsync_cli.engines.registry import Sampling, choose_device, load_generator
from lipsync_cli.engines.threads import torch_threads
from lipsync_cli.hub import ModelCard

MOST_DRAWERS = 4
MODEL_SETTINGS = frozenset(
    {
        "model", "adapter", "device", "dtype", "threads", "parity", "compile", "graphs", "devices", "crop_encoder",
        "crop_size", "steps", "solver", "guidance", "reuse", "sampling",
    }
)  # fmt: skip
"""Settings that are decided when a model is loaded."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Weights in memory on ``device``; ``plan`` is what they were loaded for.

    It holds nothing of the videos it has dubbed. One dub at a time may use it, and torch has ``threads`` threads
    while one does (0: as many as it likes).
    """

    plan: PicturePlan
    device: str
    generator: Generator[Any]

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.plan.card

    @property
    def threads(self) -> int:
        """Threads of torch that suit the model."""
        return _torch_threads(self.plan)


def resolve_device(plan: PicturePlan) -> str:
    """The device that ``plan`` means, for which torch is imported unless it is the CPU.

    Raises EnvironmentProblem for one that is not there, UsageError where frames cannot be composed on it as asked.
    """
    device = choose_device(plan.settings.device)
    composites_on_device(plan.settings.compositor, device)
    return device


def load_model(plan: PicturePlan, *, device: str | None = None, random_weights: bool = False) -> LoadedModel:
    """Load what ``plan`` needs on the resolved ``device`` (found out if None); raises what ``load_generator`` does.

    ``random_weights`` cost what the real ones do.
    """
    device = resolve_device(plan) if device is None else device
    with torch_threads(_torch_threads(plan)):
        return LoadedModel(plan, device, make_generator(plan, device, random_weights=random_weights))


class ModelCache:
    """The models of many dubs: one is loaded where the last one will not do. Holds one."""

    def __init__(self) -> None:
        self._model: LoadedModel | None = None

    def model_for(self, plan: PicturePlan) -> LoadedModel:
        """The model that ``plan`` needs; raises what ``load_model`` does."""
        if self._model is None or _model_key(self._model.plan) != _model_key(plan):
            self._model = None  # there may be no room for two
            self._model = load_model(plan)
        return self._model


def require_same_model(plan: PicturePlan, model: LoadedModel) -> None:
    """UsageError when ``model`` is not the one that ``plan`` is about, or was loaded with other settings."""
    if _model_key(plan) != _model_key(model.plan):
        raise UsageError(
            f"The dub was planned with model {plan.card.name}, and {model.card.name} was loaded for it, or it was "
            "loaded with other settings.",
            hint="Plan the dub with the model, the adapter and the settings that are loaded.",
        )


def _model_key(plan: PicturePlan) -> object:
    """Equal for plans that one loaded model does for."""
    return plan.card, plan.adapter, plan.settings.model_dump(include=set(MODEL_SETTINGS))


def _torch_threads(plan: PicturePlan) -> int:
    # Small maps gain nothing from more threads each, but a chunk's crops can be drawn side by side.
    if plan.card.kind == "lip-forcing-mini":
        return 1
    return 0 if plan.card.kind == "passthrough" else plan.settings.threads


def make_generator(plan: PicturePlan, device: str, *, random_weights: bool = False) -> Generator[Any]:
    """The generator of a plan's model; with random weights it costs what the real one does."""
    settings = plan.settings
    return load_generator(
        plan.card,
        device=device,
        dtype=settings.dtype,
        threads=_torch_threads(plan),
        drawers=settings.threads or min(MOST_DRAWERS, cores()),
        parity=settings.parity,
        compile=settings.compile,
        graphs=settings.graphs,
        devices=settings.devices,
        crop_encoder=settings.crop_encoder,
        crop_size=settings.crop_size,
        adapter=plan.adapter,
        random_weights=random_weights,
        sampling=Sampling(settings.solver, settings.steps, settings.guidance, settings.reuse, settings.sampling),
    )
