"""What a training run does, stage by stage; a TOML file may change any number of it."""

from __future__ import annotations

import tomllib
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.mini.config import MiniConfig
from lipsync_cli.settings import presets_dir
from lipsync_cli.training.dataset.audio_augment import HearingRecipe
from lipsync_cli.training.mini.adversarial import SharpenRecipe
from lipsync_cli.training.mini.autoencoder import AutoencoderRecipe
from lipsync_cli.training.mini.causal import CausalRecipe
from lipsync_cli.training.mini.phones import PhonesRecipe
from lipsync_cli.training.mini.points import PointsRecipe
from lipsync_cli.training.mini.state_sync import StateSyncRecipe
from lipsync_cli.training.mini.student import StudentRecipe
from lipsync_cli.training.mini.teacher import TeacherRecipe

Recipe = TypeVar("Recipe")

JOINT = (
    AutoencoderRecipe(crop_size=96, steps=900, learning_rate=8e-4, warmup=50),
    AutoencoderRecipe(crop_size=128, steps=600, learning_rate=6e-4, warmup=50),
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MiniRecipe:
    """Every stage of lip-forcing-mini in order; ``student`` unset ships the causal network itself.

    Without phases of ``autoencoder`` encoder and renderer are those of the model that the run starts from, and
    there is no ``points`` stage; without ``phones`` the flow is that model's too, and ``learnt`` says how far the
    weights move from the model's towards those that were taught on (Wortsman et al. 2022: what one forgot, the
    other knows). Where a run starts from nothing, ``phones`` unset leaves that stage out. ``hearing`` says how else
    clips sound while speech is learnt; unset, only loudness, tilt, throat and floor change. ``mirrored`` adds every
    clip as a mirror shows it to what speech is learnt from. ``temperature`` goes into the card beside the schedule,
    and so does ``detail`` where the pictures are new: how much of its finest is added to a drawing again.
    ``open_only`` trains on the clearly licensed clips alone.
    """

    autoencoder: tuple[AutoencoderRecipe, ...] = JOINT
    points: PointsRecipe = field(default_factory=PointsRecipe)
    sharpen: SharpenRecipe | None = None
    phones: PhonesRecipe | None = None
    sync: StateSyncRecipe = field(default_factory=StateSyncRecipe)
    teacher: TeacherRecipe = field(default_factory=TeacherRecipe)
    causal: CausalRecipe = field(default_factory=CausalRecipe)
    student: StudentRecipe | None = None
    hearing: HearingRecipe | None = None
    mirrored: bool = False
    learnt: float = 1.0
    temperature: tuple[float, ...] = (1.0, 1.0)
    detail: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    open_only: bool = False

    def schedule(self) -> tuple[float, ...]:
        """Times of the denoising steps that the shipped network was trained for."""
        return self.causal.schedule if self.student is None else self.student.schedule

    def batches(self) -> dict[str, int]:
        """What a step of each stage draws, by its name in the recipe; several processes share it."""
        sizes = {f"autoencoder[{i}].sequences": phase.sequences for i, phase in enumerate(self.autoencoder)}
        if self.autoencoder:
            sizes["points.clips"] = self.points.clips
        sizes |= {"sync.batch": self.sync.batch}
        sizes |= {"teacher.batch": self.teacher.batch, "causal.batch": self.causal.batch}
        if self.sharpen is not None:
            sizes["sharpen.sequences"] = self.sharpen.sequences
        if self.phones is not None:
            sizes["phones.batch"] = self.phones.batch
        if self.student is not None:
            sizes["student.batch"] = self.student.batch
        return sizes

    def config(self, start: MiniConfig | None = None) -> MiniConfig:
        """Hyper-parameters of what it makes, drawn at the size that the renderer learnt last.

        What no stage decides is as in ``start``, the model that the run starts from. UsageError where encoder and
        renderer would come from nowhere.
        """
        if not self.autoencoder and start is None:
            raise UsageError(
                "This recipe trains no encoder and no renderer, so it needs a model to start from.",
                hint="Name one: --start lip-forcing-mini.",
            )
        table = {} if start is None else start.model_dump()
        if self.autoencoder:
            table |= {"crop_size": self.autoencoder[-1].crop_size, "network_size": 0}
            table |= {"latent": self.autoencoder[0].latent, "sharpen": self.detail}
        if self.sharpen is not None:
            table |= {"crop_size": self.sharpen.crop_size, "network_size": self.sharpen.network_size}
        return MiniConfig.model_validate(table | {"schedule": self.schedule(), "temperature": self.temperature})


def recipe_names(folder: str = "train") -> list[str]:
    """Recipes that come with the tool, those of lip-forcing-mini or of another ``folder`` of presets."""
    return sorted(path.stem for path in (presets_dir() / folder).glob("*.toml"))


def load_recipe(name_or_file: str) -> MiniRecipe:
    """A recipe by name or by the path of a TOML file; UsageError names what is wrong with it."""
    return read_recipe(*find_recipe(name_or_file))


def find_recipe(name_or_file: str, folder: str = "train") -> tuple[dict[str, Any], Path]:
    """A recipe's table and where it was; UsageError for one that is not there or no TOML."""
    path = presets_dir() / folder / f"{name_or_file}.toml"
    if not path.is_file():
        path = Path(name_or_file)
    if not path.is_file():
        raise UsageError(
            f"There is no training recipe called {name_or_file!r}.",
            hint=f"Use one of {', '.join(recipe_names(folder))}, or the path of a TOML file.",
        )
    try:
        return tomllib.loads(path.read_text()), path
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML file: {error}.") from error


def read_recipe(table: dict[str, Any], path: Path) -> MiniRecipe:
    """Defaults with the table's values over them. Unknown names are errors."""
    return checked_recipe(MiniRecipe, table, path)


def checked_recipe(kind: type[Recipe], table: dict[str, Any], path: Path) -> Recipe:
    """The table of ``path`` as a recipe of any kind; UsageError names what is wrong with it."""
    values = dict(table)
    values.pop("summary", None)
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"The recipe {path.name} is wrong at {where}: {first['msg']}.",
            hint=f"Those in {presets_dir()} show the names.",
        ) from error
