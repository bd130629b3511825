"""From a model's card to a model that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.engine import Placement
from lipsync_cli.engines.options import read_options
from lipsync_cli.engines.protocol import LipSyncModel
from lipsync_cli.engines.registry import engine_of
from lipsync_cli.hub import ModelCard


def check_model(
    card: ModelCard, options: Mapping[str, Any], origins: Mapping[str, str], *, dtype: str = "auto"
) -> None:
    """Refuse what ``load_model`` would refuse, as far as that can be told without importing torch."""
    engine = engine_of(card)
    engine.check(card, read_options(engine, card, options, origins))
    _check_dtype(card, dtype)


def load_model(
    card: ModelCard, options: Mapping[str, Any] | None = None, placement: Placement | None = None
) -> LipSyncModel[Any]:
    """The model that ``card`` describes, with its weights verified and loaded.

    ``options`` are those of its engine, by name. Raises ModelError for missing, damaged or foreign weights,
    EnvironmentProblem for a device that is too small, UsageError for what the model cannot do.
    """
    engine, placement = engine_of(card), placement or Placement()
    chosen = read_options(engine, card, options or {}, {})
    engine.check(card, chosen)
    _check_dtype(card, placement.dtype)
    if placement.random_weights and not engine.random_weights:
        raise UsageError(f"Model {card.name} comes with its weights.", hint="Leave out --random-weights.")
    config = engine.configure(engine.read(card), chosen)
    model = engine.build(card, config, chosen, placement)
    if model.threads is None and placement.threads:
        model.threads = placement.threads
    return model


def _check_dtype(card: ModelCard, dtype: str) -> None:
    known = engine_of(card).dtypes
    if dtype not in ("auto", *known):
        raise UsageError(
            f"Model {card.name} has no {dtype} arithmetic (it has {', '.join(known)}).", hint="Leave dtype at auto."
        )
