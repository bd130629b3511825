"""What a dub can be told, and where each value came from.

Settings come in layers, later ones winning: the defaults below, a preset, the user's file, the environment
(``LIPSYNC_CRF=14`` sets ``crf``), and the command line. Names, bounds and descriptions are declared once, on the
fields of :class:`DubSettings`; messages, option help and ``lipsync presets show`` are made from them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from lipsync_cli.core.errors import UsageError
from lipsync_cli.core.resources import resource_folder

DEFAULT_PRESET = "balanced"
ENV_PREFIX = "LIPSYNC_"
# Variables with the prefix that are not settings.
ENV_OTHERS = frozenset({"LIPSYNC_CONFIG", "LIPSYNC_PRESET"})

X264Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]
"""Effort of the encoder in x264's words, the quickest first; other encoders' speeds are counted by them, too."""


class DubSettings(BaseModel):
    """Every choice a dub depends on, except its inputs and output."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str = Field(
        default="lip-forcing-mini", min_length=1, description="Model name, or folder with a model.toml."
    )
    face: str = Field(
        default="largest", min_length=1, description="Face to dub: largest, all, left, right, a number, a picture."
    )
    detector: str = Field(
        default="dlib", min_length=1, description="Face detector, and the landmark predictor that goes with it."
    )
    detect_every: int = Field(default=5, ge=1, le=30, description="Frames between two searches for faces.")
    detect_size: int = Field(
        default=640, ge=240, le=2160, description="Longer side in pixels at which faces are searched."
    )
    min_face_px: int = Field(default=48, ge=16, le=2000, description="Faces narrower than this pass untouched.")
    max_yaw: float = Field(
        default=0.55, gt=0, le=1, description="Faces turned further pass untouched; 1 is full profile."
    )
    lookahead_frames: int = Field(default=3, ge=0, le=15, description="Frames the tracker may look ahead.")
    landmark_samples: int = Field(
        default=4, ge=1, le=16, description="Readings averaged for each face: more are calmer and slower."
    )
    read_every: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Frames between two readings of a followed face; it moves straight between.",
    )
    spare_covered: bool = Field(
        default=True, description="Leave frames alone in which a hand or an object covers the mouth."
    )
    reference_frames: int = Field(
        default=25, ge=1, le=125, description="Frames at a segment's start that references are chosen from."
    )
    fade_frames: int = Field(default=3, ge=0, le=12, description="Frames of hand-over between dubbed and untouched.")
    silence: Literal["close", "model", "keep"] = Field(
        default="close", description="In silence: close the mouth, leave it to the model, or keep the picture."
    )
    length: Literal["longest", "video", "audio", "shortest"] = Field(
        default="longest", description="What decides the length of the result."
    )
    color_match: bool = Field(default=True, description="Match the generated mouth to the colours around it.")
    codec: str = Field(default="auto", min_length=1, description="Video encoder; auto follows the container.")
    crf: int = Field(default=16, ge=0, le=51, description="Constant rate factor: lower is better and larger.")
    encoder_preset: X264Preset = Field(default="fast", description="Effort of the encoder.")
    pix_fmt: str | None = Field(
        default=None, min_length=1, description="Pixel format of the result; the source's if unset."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="Where the model runs.")
    compositor: Literal["auto", "cpu", "device"] = Field(
        default="auto",
        description="What blends faces into the picture: the CPU, or the model's device; auto: that if it is CUDA.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float8"] = Field(
        default="auto", description="Arithmetic of the model, if its engine has it; auto suits the device."
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Seed of the model's noise.")
    threads: int = Field(default=0, ge=0, le=1024, description="CPU threads of the model; 0 leaves it to the tool.")


Options = Mapping[str, Mapping[str, Any]]
"""Engine options as a preset gives them: by kind of model, then by name."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of values; ``path`` is the file it was read from. ``options`` are those of engines, by kind."""

    name: str
    path: Path
    summary: str
    values: dict[str, Any]
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OptionLayers:
    """Engine options in layers, later ones winning, each with what to call it; ``given`` were asked for by name.

    Layers of a preset or a file say what each kind of model does; what was given is for the model that is used.
    """

    layers: tuple[tuple[str, Options], ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)

    def for_kind(self, kind: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Values for a model of ``kind`` by name, and where each of them comes from."""
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for origin, options in self.layers:
            values.update(options.get(kind, {}))
            origins.update(dict.fromkeys(options.get(kind, {}), origin))
        values.update(self.given)
        origins.update({name: f"--option {name}" for name in self.given})
        return values, origins


class Resolved(NamedTuple):
    """What a dub was told, all layers together. ``provenance`` names the layer that decided each setting."""

    settings: DubSettings
    provenance: dict[str, str]
    preset: str = DEFAULT_PRESET
    options: OptionLayers = OptionLayers()


def bounds(name: str) -> str:
    """What a setting accepts, in words: ``0–51``, ``close|model|keep``; empty where anything goes."""
    return field_bounds(DubSettings.model_fields[name])


def field_bounds(declared: FieldInfo) -> str:
    """What a field accepts, in words."""
    kinds = [kind for kind in (declared.annotation, *get_args(declared.annotation)) if get_origin(kind) is Literal]
    if kinds:
        return "|".join(map(str, get_args(kinds[0])))
    low = next((getattr(m, key) for m in declared.metadata for key in ("ge", "gt") if hasattr(m, key)), None)
    high = next((getattr(m, key) for m in declared.metadata for key in ("le", "lt") if hasattr(m, key)), None)
    return "" if low is None and high is None else f"{low}–{high}"


def presets_dir() -> Path:
    """The presets for dubs of the installed package, or of the source tree it runs from."""
    return resource_folder("presets") / "dub"


def preset_names() -> list[str]:
    """Names of the presets that come with the tool."""
    return sorted(path.stem for path in presets_dir().glob("*.toml"))


def load_preset(name_or_file: str) -> Preset:
    """A preset by name, or by the path of a TOML file."""
    path = presets_dir() / f"{name_or_file}.toml"
    if name_or_file.endswith(".toml") or "/" in name_or_file or os.sep in name_or_file:
        path = Path(name_or_file)
    elif not path.is_file():
        raise UsageError(
            f"There is no preset called {name_or_file!r}.",
            hint=suggest(name_or_file, preset_names()) or f"Presets: {', '.join(preset_names())}.",
        )
    table = _read_toml(path, "preset")
    values, options = table.pop("dub", {}), _engine_tables(table, path)
    summary = table.pop("summary", "")
    if table or not isinstance(values, dict):
        key = next(iter(table), "dub")
        raise UsageError(
            f"{path} has {key!r} at its top level.",
            hint='A preset holds summary = "…", a table [dub] of settings and tables [engine.KIND] of options.',
        )
    _validate(values, dict.fromkeys(values, str(path)))
    return Preset(path.stem, path, str(summary), values, options)


def _engine_tables(table: dict[str, Any], path: Path) -> Options:
    """Take the tables ``[engine.KIND]`` out of a file's ``table``."""
    tables = table.pop("engine", {})
    if not isinstance(tables, dict) or not all(isinstance(options, dict) for options in tables.values()):
        raise UsageError(
            f"{path} has engine options without saying for which models.", hint="Write them in a table [engine.KIND]."
        )
    return tables


def choose_preset(preset: str | None, environ: Mapping[str, str] | None = None) -> str:
    """The preset in force: the one asked for, else ``LIPSYNC_PRESET``, else the user file's, else the default."""
    env = os.environ if environ is None else environ
    return _chosen_preset(preset, env, _user_file(env))


def _chosen_preset(preset: str | None, env: Mapping[str, str], user: Mapping[str, Any]) -> str:
    return str(preset or env.get("LIPSYNC_PRESET") or user.get("preset") or DEFAULT_PRESET)


def resolve_settings(
    preset: str | None,
    overrides: Mapping[str, Any],
    *,
    sets: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved:
    """Settings for a dub, the layer that decided each, the preset in force and the layers of engine options.

    ``overrides`` are the options given on the command line, None meaning not given; ``sets`` come from ``--set``,
    ``options`` from ``--option``.
    """
    env = os.environ if environ is None else environ
    user = _user_file(env)
    name = _chosen_preset(preset, env, user)
    chosen = load_preset(name)
    user.pop("preset", None)
    user_path = config_path(env)
    layers = (f"preset {chosen.name}", chosen.options), (str(user_path), _engine_tables(user, user_path))
    given = {key: value for key, value in overrides.items() if value is not None}
    values: dict[str, Any] = {}
    origins = dict.fromkeys(DubSettings.model_fields, "default")
    for layer, origin in (
        (chosen.values, f"preset {chosen.name}"),
        (user, str(user_path)),
        (_environment(env), ENV_PREFIX),
        (given, "--"),
        (sets or {}, "--set "),
    ):
        values.update(layer)
        origins.update({key: _origin(origin, key) for key in layer})
    settings = _validate(values, origins)
    provenance = {name: origins[name] for name in DubSettings.model_fields}
    return Resolved(settings, provenance, name, OptionLayers(layers, options or {}))


def _origin(layer: str, key: str) -> str:
    """What to call a layer's value for ``key``: its variable, its option, or the layer itself."""
    spelled = {ENV_PREFIX: ENV_PREFIX + key.upper(), "--": option_name(key), "--set ": f"--set {key}"}
    return spelled.get(layer, layer)


def option_name(field: str) -> str:
    """The command-line spelling of a setting."""
    return "--" + field.replace("_", "-")


def config_path(environ: Mapping[str, str]) -> Path:
    """Where the user's own settings are kept; the file need not exist."""
    if environ.get("LIPSYNC_CONFIG"):
        return Path(environ["LIPSYNC_CONFIG"])
    base = environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(base) / "lipsync" / "config.toml"


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Environment variables that look like settings but are none, so probably typing mistakes."""
    env = os.environ if environ is None else environ
    return sorted(name for name in env if name.startswith(ENV_PREFIX) and name not in _known_variables())


def suggest(word: str, known: list[str]) -> str:
    """``Did you mean …?`` for a mistyped word, or nothing."""
    close = get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else ""


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    found = {name: environ.get(ENV_PREFIX + name.upper()) for name in DubSettings.model_fields}
    return {name: value for name, value in found.items() if value}


def _user_file(environ: Mapping[str, str]) -> dict[str, Any]:
    path = config_path(environ)
    if not path.is_file() and not environ.get("LIPSYNC_CONFIG"):
        return {}
    return _read_toml(path, "settings file")


def _read_toml(path: Path, what: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(f"The {what} {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The {what} {path} is not valid TOML: {error}.") from error


def _validate(values: Mapping[str, Any], origins: Mapping[str, str]) -> DubSettings:
    try:
        return DubSettings(**values)
    except ValidationError as error:
        raise _usage_error(error, origins) from error


def _usage_error(error: ValidationError, origins: Mapping[str, str]) -> UsageError:
    """The first complaint of ``error`` as a sentence that names the value and who set it."""
    first = error.errors()[0]
    key = str(first["loc"][0])
    origin = origins[key]
    if first["type"] == "extra_forbidden":
        hint = suggest(key, list(DubSettings.model_fields)) or "Run lipsync presets show balanced for their names."
        return UsageError(f"There is no setting called {key!r} ({origin}).", hint=hint)
    name = origin if origin.startswith("--") else f"{key} ({origin})"
    expected = bounds(key)
    detail = f"expected {expected.replace('|', ', ')}" if expected else first["msg"].lower()
    return UsageError(f"{name} cannot be {first['input']!r}: {detail}.", hint=_value_hint(key, first["input"]))


def _value_hint(key: str, value: Any) -> str:
    choices = bounds(key).split("|")
    return suggest(value, choices) if isinstance(value, str) and len(choices) > 1 else ""


def suggest_variable(name: str) -> str:
    """``Did you mean …?`` for a mistyped environment variable, or what else to do."""
    return suggest(name, _known_variables()) or "Unset it."


def _known_variables() -> list[str]:
    return sorted(ENV_OTHERS) + [ENV_PREFIX + field.upper() for field in DubSettings.model_fields]
