"""A model that is loaded once and dubs any number of videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lipsync_cli.compositing.backend import composites_on_device
from lipsync_cli.core.errors import UsageError
from lipsync_cli.dubbing.plan import PicturePlan
from lipsync_cli.engines.devices import choose_device
from lipsync_cli.engines.engine import Placement
from lipsync_cli.engines.loading import load_model as load_engine_model
from lipsync_cli.engines.protocol import LipSyncModel
from lipsync_cli.hub import ModelCard

MODEL_SETTINGS = frozenset({"model", "device", "dtype", "threads"})
"""Settings that are decided when a model is loaded, beside the options of its engine."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Weights in memory on ``device``; ``plan`` is what they were loaded for.

    It holds nothing of the videos it has dubbed. One dub at a time may use it, and torch has the threads that it
    wants while one does.
    """

    plan: PicturePlan
    device: str
    generator: LipSyncModel[Any]

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
    """Load what ``plan`` needs on the resolved ``device`` (found out if None); raises what
    ``engines.loading.load_model`` does.

    ``random_weights`` cost what the real ones do.
    """
    device = resolve_device(plan) if device is None else device
    settings = plan.settings
    placement = Placement(device, settings.dtype, settings.threads, random_weights)
    return LoadedModel(plan, device, load_engine_model(plan.card, plan.options, placement))


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
            hint="Plan the dub with the model, the options and the settings that are loaded.",
        )


def _model_key(plan: PicturePlan) -> object:
    """Equal for plans that one loaded model does for."""
    return plan.card, plan.options, plan.settings.model_dump(include=set(MODEL_SETTINGS))
