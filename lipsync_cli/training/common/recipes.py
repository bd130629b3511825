"""Recipes: what a training does, as numbers in a TOML file of ``presets/train`` or of the user's own.

Names, bounds and defaults are declared once, on the fields of :class:`Recipe` and its subclasses. A value that a
training cannot mean is refused before anything is trained, in a sentence that names the file and the key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lipsync_cli.core.errors import UsageError
from lipsync_cli.core.resources import resource_folder
from lipsync_cli.settings import option_name, suggest

Count = Annotated[int, Field(ge=1)]
"""Of steps, clips, frames, layers: at least one."""
CountOrNone = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]
CropSize = Annotated[int, Field(ge=32, le=1024, multiple_of=16)]
"""Side of a crop in pixels."""
LearningRate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
"""Of samples, of a variance, or how often something is done."""
Weight = Annotated[float, Field(ge=0)]
"""Of a loss term, or a standard deviation: anything that may be zero but not negative."""
Momentum = Annotated[float, Field(ge=0, lt=1)]
FlowTime = Annotated[float, Field(ge=0, le=1)]
"""A time of the flow: 0 is clean, 1 is noise."""
Schedule = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)]
"""Flow times of the denoising steps."""
Shift = Annotated[float, Field(gt=0)]
"""How far flow times are pushed towards noise; 1 leaves them where they are."""


class Recipe(BaseModel):
    """Frozen numbers of a training or of a stage of one; unknown names, infinities and NaN are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def read(cls, path: Path, **options: Any) -> Self:
        """The TOML file at ``path`` with ``options`` over it, those that are not None.

        Raises UsageError for a file that cannot be read, and for an unknown key or a value out of bounds.
        """
        return cls.checked(read_table(path), str(path), **options)

    @classmethod
    def checked(cls, table: Mapping[str, Any], origin: str, **options: Any) -> Self:
        """Defaults with the values of ``table`` and then ``options`` over them; UsageError names ``origin``."""
        given = {name: value for name, value in options.items() if value is not None}
        try:
            return cls.model_validate({**table, **given})
        except ValidationError as error:
            raise _usage_error(cls, error, origin, given) from error

    def replaced(self, **changes: Any) -> Self:
        """A copy with other values, checked as all are. ValueError for what is out of bounds."""
        return type(self).model_validate({**dict(self), **changes})


class TrainingRecipe(Recipe):
    """What a whole ``lipsync train`` command does. ``training`` is its folder in ``presets/train``."""

    training: ClassVar[str]

    summary: str = ""

    @classmethod
    def names(cls) -> list[str]:
        """The recipes that come with the tool."""
        return sorted(path.stem for path in recipes_folder(cls.training).glob("*.toml"))

    @classmethod
    def load(cls, name_or_file: str, **options: Any) -> Self:
        """A recipe by name, or by the path of a TOML file, with ``options`` over it; see ``read``."""
        path = recipes_folder(cls.training) / f"{name_or_file}.toml"
        if not path.is_file():
            path = Path(name_or_file)
        if not path.is_file():
            raise UsageError(
                f"There is no recipe of lipsync train {cls.training} called {name_or_file!r}.",
                hint=suggest(name_or_file, cls.names())
                or f"Use one of {', '.join(cls.names())}, or the path of a TOML file.",
            )
        return cls.read(path, **options)


def recipes_folder(training: str) -> Path:
    """Where the recipes of ``lipsync train TRAINING`` are that come with the tool."""
    return resource_folder("presets") / "train" / training


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file's values; UsageError for one that cannot be read."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML file: {error}.") from error


def _usage_error(kind: type[Recipe], error: ValidationError, origin: str, options: Mapping[str, Any]) -> UsageError:
    """The first complaint as a sentence that names the key and the file, or the option, that set it."""
    first = error.errors()[0]
    where, value = first["loc"], first["input"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    if first["type"] == "extra_forbidden":
        known = sorted(_recipe_at(kind, where[:-1]).model_fields)
        return UsageError(
            f"{origin} has a key {key} that no recipe of this kind has.",
            hint=suggest(str(where[-1]), known) or f"Its keys are {', '.join(known)}.",
        )
    name = option_name(key) if key in options else f"{key} ({origin})"
    detail = first["msg"].removeprefix("Value error, ")
    if not isinstance(value, int | float | str):
        return UsageError(f"{name} is wrong: {detail}.")
    return UsageError(f"{name} cannot be {value!r}: {detail[:1].lower()}{detail[1:]}.")


def _recipe_at(kind: type[Recipe], where: tuple[int | str, ...]) -> type[Recipe]:
    """The class of the table that an error's place leads to."""
    for part in where:
        if isinstance(part, str):
            kind = _recipe_in(kind.model_fields[part].annotation) or kind
    return kind


def _recipe_in(annotation: Any) -> type[Recipe] | None:
    """The recipe class of a field, which may be optional or in a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, Recipe):
        return annotation
    return next(filter(None, map(_recipe_in, get_args(annotation))), None)
