"""Recipes: bounds on every number, sentences that name file and key, options over files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lipsync_cli.core.errors import UsageError
from lipsync_cli.training.adapt.trainer import AdaptRecipe
from lipsync_cli.training.common.recipes import Recipe, TrainingRecipe
from lipsync_cli.training.dataset.limits import Limits
from lipsync_cli.training.latentsync.stage import LatentSyncRecipe
from lipsync_cli.training.mini.recipe import MiniRecipe
from lipsync_cli.training.omnisync.stage import OmniSyncRecipe
from lipsync_cli.training.stable_sync.stage import StableSyncRecipe
from lipsync_cli.training.sync.stage import SyncRecipe

TRAININGS = (MiniRecipe, OmniSyncRecipe, SyncRecipe, StableSyncRecipe)
MAY_BE_NEGATIVE = {
    ("SigmaDensity", "mean"), ("Limits", "level_db"), ("Limits", "confidence"), ("Limits", "trusted_confidence"),
}  # fmt: skip


def types_in(annotation: Any) -> list[type]:
    """The classes that an annotation is made of."""
    parts = getattr(annotation, "__args__", ())
    return [annotation] if not parts else [one for part in parts for one in types_in(part)]


def every_recipe(kind: type[Recipe]) -> set[type[Recipe]]:
    """A class of recipes and those of its fields."""
    inner = [one for field in kind.model_fields.values() for one in types_in(field.annotation)]
    return {kind}.union(*(every_recipe(one) for one in inner if isinstance(one, type) and issubclass(one, Recipe)))


def numbers() -> list[tuple[type[Recipe], str]]:
    """Every field of every recipe that is a number or a tuple of numbers."""
    kinds = set().union(*map(every_recipe, (*TRAININGS, LatentSyncRecipe, AdaptRecipe, Limits)))
    return sorted(
        (
            (kind, name)
            for kind in kinds
            for name, field in kind.model_fields.items()
            if {int, float} & set(types_in(field.annotation))
        ),
        key=lambda item: (item[0].__name__, item[1]),
    )


@pytest.mark.parametrize(("kind", "name"), numbers(), ids=lambda value: getattr(value, "__name__", value))
def test_recipe_number_has_bounds(kind: type[Recipe], name: str) -> None:
    tuples = "tuple" in str(kind.model_fields[name].annotation)
    for value in (-1, float("nan"), float("inf")) if (kind.__name__, name) not in MAY_BE_NEGATIVE else (-1000, 1000):
        with pytest.raises(ValidationError):
            kind.model_validate({name: [value, value] if tuples else value})


@pytest.mark.parametrize("training", TRAININGS)
def test_recipe_of_the_tool_is_read_and_has_a_summary(training: type[TrainingRecipe]) -> None:
    assert training.names()
    for name in training.names():
        assert training.load(name).summary.endswith(".")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps = 0", r"steps \(.*mine\.toml\) cannot be 0: input should be greater than or equal to 1"),
        ("learning_rate = 0", r"learning_rate \(.*mine\.toml\) cannot be 0"),
        ("learning_rate = nan", r"learning_rate \(.*mine\.toml\) cannot be nan"),
        ('steps = "many"', r"steps \(.*mine\.toml\) cannot be 'many'"),
        ("stepz = 3", r"mine\.toml has a key stepz"),
        ("steps = ", r"mine\.toml is no TOML file"),
    ],
)
def test_recipe_that_is_wrong_names_file_and_key(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        SyncRecipe.load(str(path))


def test_recipe_key_in_a_table_is_named_with_its_place_and_a_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[student]\nbatch = -1\n")
    with pytest.raises(UsageError, match=r"student\.batch .* cannot be -1"):
        MiniRecipe.load(str(path))
    path.write_text("[[autoencoder]]\n[[autoencoder]]\nstepz = 1\n")
    with pytest.raises(UsageError, match=r"autoencoder\[1\]\.stepz") as caught:
        MiniRecipe.load(str(path))
    assert caught.value.hint == "Did you mean 'steps'?"
    path.write_text("[teacher]\nxyz = 1\n")
    with pytest.raises(UsageError, match=r"teacher\.xyz") as caught:
        MiniRecipe.load(str(path))
    assert "width" in caught.value.hint and "guidance" not in caught.value.hint


def test_recipe_name_that_is_unknown_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="no recipe of lipsync train mini called 'mimi'") as caught:
        MiniRecipe.load("mimi")
    assert caught.value.hint == "Did you mean 'mini'?"
    with pytest.raises(UsageError) as caught:
        MiniRecipe.load("something else")
    assert "mini-on, mini-open" in caught.value.hint


def test_recipe_options_replace_values_of_the_file_and_are_named_as_options(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("steps = 7\nclips = 3\n")
    recipe = SyncRecipe.load(str(path), steps=9, clips=None)
    assert (recipe.steps, recipe.clips, recipe.warmup) == (9, 3, SyncRecipe().warmup)
    with pytest.raises(UsageError, match=r"^--learning-rate cannot be -1\.0"):
        SyncRecipe.load(str(path), learning_rate=-1.0)


def test_recipe_is_frozen_and_replaced_checks_what_it_changes() -> None:
    recipe = SyncRecipe(steps=3)
    with pytest.raises(ValidationError):
        recipe.steps = 4
    assert recipe.replaced(steps=4) == SyncRecipe(steps=4)
    with pytest.raises(ValidationError):
        recipe.replaced(steps=0)
