"""One load for many dubs, and another one where the model is another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lipsync_cli import hub
from lipsync_cli.dubbing import pipeline
from lipsync_cli.dubbing.plan import Job
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.evaluation.loaded_model import LoadedModel
from lipsync_cli.settings import DubSettings, OptionLayers


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Model and weights of every load."""
    loads: list[tuple[str, bool]] = []

    def make(job: Job, *, random_weights: bool) -> object:
        loads.append((job.card.name, random_weights))
        return object()

    monkeypatch.setattr(pipeline, "load_model_of", make)
    return loads


def job(model: str = "passthrough", **settings: Any) -> Any:
    request = DubRequest(None, None, None, DubSettings(model=model, **settings))  # type: ignore[arg-type]
    return Job(request, hub.load_card(model), None, None, None, None, "cpu")  # type: ignore[arg-type]


def test_model_is_loaded_once_for_equal_dubs(loads: list[tuple[str, bool]]) -> None:
    model = LoadedModel()
    first = model(job())
    assert model(job()) is first is model.loaded
    assert loads == [("passthrough", False)]


@pytest.mark.parametrize(
    "other",
    [
        job("lip-forcing-mini"),
        job(threads=1),
        replace(job(), device="cuda"),
        replace(job(), request=replace(job().request, options=OptionLayers(given={"steps": 3}))),
    ],
)
def test_model_is_loaded_anew_for_another(other: Any, loads: list[tuple[str, bool]]) -> None:
    model = LoadedModel()
    first = model(job())
    assert model(other) is not first
    assert len(loads) == 2


def test_model_may_have_random_weights(loads: list[tuple[str, bool]]) -> None:
    LoadedModel(random_weights=True)(job())
    assert loads == [("passthrough", True)]
