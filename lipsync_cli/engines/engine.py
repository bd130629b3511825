"""What an engine is: a kind of model that this tool can run, with everything about it in one place.

An engine is a class in a package of its own. Those of this package are listed in ``registry``; another package names
its own in its metadata, under the entry point group ``lipsync.engines``, and is found without a change here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.protocol import LipSyncModel
from lipsync_cli.hub import ModelCard, read_table

if TYPE_CHECKING:
    from lipsync_cli.engines.cost import ModelCost
    from lipsync_cli.engines.weight_roles import WeightRole


class EngineConfig(BaseModel):
    """The ``[generator]`` table of a model card: every hyper-parameter, none guessed from a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineOptions(BaseModel):
    """What a user may change with ``--option NAME=VALUE``. None leaves a choice to the model's card.

    Declare each with bounds and a description: messages, help and ``lipsync models show`` are made from them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def chosen(self) -> dict[str, Any]:
        """The options that were not left alone, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a model is to run.

    ``device``: cpu, cuda or mps, which must exist. ``dtype``: auto, or one of the engine's ``dtypes``. ``threads``:
    CPU threads, 0 for the engine's choice. ``random_weights`` need no files and are for measuring speed.
    """

    device: str = "cpu"
    dtype: str = "auto"
    threads: int = 0
    random_weights: bool = False


C = TypeVar("C", bound=BaseModel)
O = TypeVar("O", bound=EngineOptions)  # noqa: E741


class Engine(ABC, Generic[C, O]):
    """Everything about a kind of model. ``Config`` is its card's table, ``Options`` what users may change.

    ``version`` is that of the cards it can run. ``dtypes`` are the arithmetics it knows, ``random_weights`` whether
    its speed can be measured without files. Importing an engine must not import torch: only ``build`` may.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    title: ClassVar[str] = ""
    """What people call models of this kind."""
    Config: ClassVar[type[BaseModel]] = EngineConfig
    Options: ClassVar[type[EngineOptions]] = EngineOptions
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")
    random_weights: ClassVar[bool] = False
    denoiser: ClassVar[str] = ""
    """The role of the weights that training makes; ``lipsync models convert`` takes them for it."""

    @abstractmethod
    def build(self, card: ModelCard, config: C, options: O, placement: Placement) -> LipSyncModel[Any]:
        """The model of ``card``, with its weights verified and loaded, where ``placement`` says.

        ``config`` is the card's table as the options left it. Raises ModelError for missing, damaged or foreign
        weights, EnvironmentProblem for a device that is too small, UsageError for options that do not go together.
        """

    def read(self, card: ModelCard) -> C:
        """The card's table as ``Config``; ModelError names the wrong key."""
        return cast(C, read_table(card.generator, self.Config, model=card.name))

    def check(self, card: ModelCard, options: O) -> None:
        """Refuse what cannot work as far as that can be told without importing torch."""

    def configure(self, config: C, options: O) -> C:
        """``config`` with the options of the same names put over it; UsageError where they do not fit together."""
        table = config.model_dump()
        chosen = {name: value for name, value in options.chosen().items() if name in table}
        try:
            return type(config).model_validate({**table, **chosen})
        except ValidationError as error:
            said = ", ".join(f"{name}={value}" for name, value in chosen.items())
            raise UsageError(f"The options {said} cannot be used: {error.errors()[0]['msg']}.") from error

    def roles(self, config: C) -> Mapping[str, WeightRole]:
        """The networks that weights are for, by role; empty for a model whose files are its own affair."""
        return {}

    def cost(self, config: C) -> ModelCost | None:
        """What a model asks of a machine, counted; None where nobody has counted."""
        return None
