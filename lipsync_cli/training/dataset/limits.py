"""What is good enough to be trained on; a TOML file may change any number of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lipsync_cli.core.errors import UsageError
from lipsync_cli.training.dataset.format import MAX_LAG, MIN_FRAMES


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Limits:
    """Thresholds of the filters. Sizes in source pixels, angles in quarter turns, lags in frames of 25 a second.

    Picture: least ``frames``; least ``face_px``; most ``yaw`` and ``pitch`` (90th percentile); least ``blur``
    (variance of the Laplacian at the source's scale); most ``jump`` (share of the picture that changes at once) and
    ``frozen`` (share of repeated frames). Sound: least ``level_db``.

    Sync: a lag listed for the clip is plausible up to ``listed_lag``. The expert is trusted about a clip from
    ``trusted_windows`` windows and ``trusted_confidence`` on, and about a folder's clips together from four times as
    many windows on. Lags beyond ``lag`` are not corrected. ``confidence`` is the least at the lag that is undone.

    Duplicates: at most these shares of the fingerprints' bits differ.
    """

    frames: int = MIN_FRAMES
    face_px: float = 60.0
    yaw: float = 0.45
    pitch: float = 0.4
    blur: float = 8.0
    jump: float = 0.6
    frozen: float = 0.25
    level_db: float = -60.0
    listed_lag: int = 3
    lag: int = MAX_LAG
    trusted_windows: int = 35
    trusted_confidence: float = 0.25
    confidence: float = 0.05
    duplicate_picture: float = 0.2
    duplicate_sound: float = 0.2


def load_limits(path: Path | None) -> Limits:
    """The defaults with a TOML file's values over them. UsageError names what is wrong with it."""
    if path is None:
        return Limits()
    try:
        limits = TypeAdapter(Limits).validate_python(tomllib.loads(path.read_text()))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML file: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"The limits {path.name} are wrong at {where}: {first['msg']}.") from error
    if limits.lag > MAX_LAG or limits.frames < MIN_FRAMES:
        raise UsageError(f"Limits cannot go beyond lag = {MAX_LAG} and below frames = {MIN_FRAMES}.")
    return limits
