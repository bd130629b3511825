"""Engine options as people write them: looked up, checked against the engine, and explained when they do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from lipsync_cli.core.errors import LipsyncError, UsageError
from lipsync_cli.engines.engine import Engine, EngineOptions
from lipsync_cli.engines.registry import engine_kinds, engine_of_kind
from lipsync_cli.hub import ModelCard
from lipsync_cli.settings import field_bounds, suggest


def read_options(
    engine: Engine[Any, Any], card: ModelCard, values: Mapping[str, Any], origins: Mapping[str, str]
) -> Any:
    """``values`` by name as the engine's ``Options``, all that ``card``'s model can be told.

    ``origins`` says where each comes from. UsageError for an option that the engine does not have, naming those that
    do, and for a value out of bounds.
    """
    known = engine.Options.model_fields
    for name in values:
        if name not in known:
            raise _unknown(name, origins.get(name, ""), engine, card)
    try:
        return engine.Options.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        origin = origins.get(name) or f"--option {name}"
        bounds = field_bounds(engine.Options.model_fields[name]) if name in known else ""
        detail = f"expected {bounds.replace('|', ', ')}" if bounds else first["msg"].lower()
        value = values.get(name)
        hint = suggest(value, bounds.split("|")) if isinstance(value, str) and "|" in bounds else ""
        raise UsageError(
            f"{name} of model {card.name} cannot be {value!r} ({origin}): {detail}.", hint=hint
        ) from error


def _unknown(name: str, origin: str, engine: Engine[Any, Any], card: ModelCard) -> UsageError:
    where = f" ({origin})" if origin else ""
    names = list(engine.Options.model_fields)
    hint = suggest(name, names)
    others = engines_with(name)
    if others:
        hint = f"It is an option of {_listed(others)}."
    elif not hint:
        hint = f"Its options: {', '.join(names)}." if names else "It has no options."
    return UsageError(f"Model {card.name} has no option {name!r}{where}.", hint=hint)


def engines_with(name: str) -> list[str]:
    """The kinds of models that have an option called ``name``."""
    return [kind for kind, options in _all_options() if name in options.model_fields]


def option_names() -> list[str]:
    """The names of all options of all engines."""
    return sorted({name for _, options in _all_options() for name in options.model_fields})


def _all_options() -> Iterable[tuple[str, type[EngineOptions]]]:
    for kind in engine_kinds():
        try:
            yield kind, engine_of_kind(kind).Options
        except LipsyncError:  # an engine that cannot be loaded has no options; whoever wants it is told why
            continue


def _listed(kinds: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1]))) + " models"
