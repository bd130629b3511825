"""Recipes of lip-forcing-mini: those that come with the tool, and what they make."""

from __future__ import annotations

import pytest

from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.mini.config import read_config
from lipsync_cli.hub import load_card
from lipsync_cli.training.common.runtime import Runtime
from lipsync_cli.training.mini.recipe import MiniRecipe


def test_recipe_mini_has_all_stages() -> None:
    assert "mini" in MiniRecipe.names()
    recipe = MiniRecipe.load("mini")
    assert recipe.student is not None and recipe.adversarial is not None
    assert [phase.crop_size for phase in recipe.autoencoder] == [96, 128]


@pytest.mark.parametrize(("recipe", "model"), [("mini", "lip-forcing-mini"), ("mini-open", "lip-forcing-mini-open")])
def test_recipe_makes_the_configuration_of_the_shipped_card(recipe: str, model: str) -> None:
    assert MiniRecipe.load(recipe).config() == read_config(load_card(model).generator, model=model)


@pytest.mark.parametrize(
    ("table", "where"),
    [({"teacher": {"stepz": 1}}, "teacher.stepz"), ({"points": {"steps": "many"}}, "points.steps")],
)
def test_recipe_that_is_wrong_names_the_key(table: dict, where: str) -> None:
    with pytest.raises(UsageError, match=where):
        MiniRecipe.checked(table, "mine.toml")
    with pytest.raises(UsageError, match="no recipe of lipsync train mini called 'nothing'"):
        MiniRecipe.load("nothing")


@pytest.mark.parametrize("name", MiniRecipe.names())
def test_recipe_of_the_tool_can_be_shared_by_two_processes(name):
    recipe = MiniRecipe.load(name)
    assert {"teacher.batch", "causal.batch", "sync.batch"} <= recipe.batches().keys()
    assert ("points.clips" in recipe.batches()) == bool(recipe.autoencoder)
    for where, size in recipe.batches().items():
        Runtime(parts=2).check_batch(size, where)
