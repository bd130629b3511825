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
from lipsync_cli.hub import ModelCard

MOST_DRAWERS = 4


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Weights in memory on ``device``; ``plan`` is what they were loaded for.

    It holds nothing of the videos it has dubbed. One dub at a time may use it.
    """

    plan: PicturePlan
    device: str
    generator: Generator[Any]

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.plan.card


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
    return LoadedModel(plan, device, make_generator(plan, device, random_weights=random_weights))


def require_same_model(plan: PicturePlan, model: LoadedModel) -> None:
    """UsageError when ``model`` is not the one that ``plan`` is about."""
    wanted, loaded = ((each.card, each.adapter) for each in (plan, model.plan))
    if wanted != loaded:
        raise UsageError(
            f"The dub was planned with model {plan.card.name}, and {model.card.name} was loaded for it.",
            hint="Plan it with the model, and the adapter, that is loaded.",
        )


def make_generator(plan: PicturePlan, device: str, *, random_weights: bool = False) -> Generator[Any]:
    """The generator of a plan's model; with random weights it costs what the real one does."""
    settings = plan.settings
    # Small maps gain nothing from more threads each, but a chunk's crops can be drawn side by side.
    small = plan.card.kind == "lip-forcing-mini"
    return load_generator(
        plan.card,
        device=device,
        dtype=settings.dtype,
        threads=1 if small else settings.threads,
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
