"""The engines: those of this package, and those that other packages bring along.

A package brings an engine by an entry point of the group ``lipsync.engines`` that names its class, and models for it
by one of the group ``lipsync.models``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lipsync_cli.core.errors import EnvironmentProblem, ModelError
from lipsync_cli.engines.engine import Engine
from lipsync_cli.hub import ModelCard

GROUP = "lipsync.engines"
BUILT_IN = {
    "latentsync": "lipsync_cli.engines.latentsync.engine:LatentSyncEngine",
    "lip-forcing": "lipsync_cli.engines.lip_forcing.engine:LipForcingEngine",
    "lip-forcing-mini": "lipsync_cli.engines.mini.engine:MiniEngine",
    "omnisync": "lipsync_cli.engines.omnisync.engine:OmniSyncEngine",
    "passthrough": "lipsync_cli.engines.passthrough:PassthroughEngine",
}
"""Kind → module and class, imported when it is wanted."""


def engine_kinds() -> list[str]:
    """The kinds of models that can be run."""
    return sorted({*BUILT_IN, *_brought_along()})


def engine_of_kind(kind: str) -> Engine[Any, Any]:
    """The engine for models of ``kind``; ModelError if there is none, EnvironmentProblem if it cannot be imported."""
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        return _checked(kind, getattr(importlib.import_module(module), name)(), "lipsync-cli")
    point = _brought_along().get(kind)
    if point is None:
        raise ModelError(f"No engine runs models of kind {kind!r}.", hint=f"Kinds: {', '.join(engine_kinds())}.")
    package = point.dist.name if point.dist is not None else point.value
    try:
        made = point.load()()
    except Exception as error:  # whatever goes wrong in somebody else's package
        raise EnvironmentProblem(
            f"The engine {kind!r} of package {package} cannot be loaded: {error}", hint=f"Mend or remove {package}."
        ) from error
    return _checked(kind, made, package)


def engine_of(card: ModelCard) -> Engine[Any, Any]:
    """The engine for a model; ModelError for a kind or a version of card that none can run."""
    if card.kind not in engine_kinds():
        raise ModelError(
            f"Model {card.name} is of kind {card.kind!r}, which this version of lipsync cannot run.",
            hint="See 'lipsync models list' for the models that can.",
        )
    engine = engine_of_kind(card.kind)
    if card.version != engine.version:
        raise ModelError(
            f"Model {card.name} is {card.kind} version {card.version}; version {engine.version} was expected.",
            hint="Install the model that comes with this version of lipsync.",
        )
    return engine


def _checked(kind: str, engine: object, package: str) -> Engine[Any, Any]:
    if isinstance(engine, Engine) and getattr(engine, "kind", None) == kind:
        return engine
    raise EnvironmentProblem(
        f"Package {package} names something as the engine {kind!r} that is none.",
        hint="An entry point of lipsync.engines names a class derived from Engine, under the class's kind.",
    )


@cache
def _brought_along() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in BUILT_IN}
