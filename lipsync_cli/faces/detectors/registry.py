"""Face detectors by name: those of this package, and those that installed packages add."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lipsync_cli.core.errors import EnvironmentProblem, UsageError
from lipsync_cli.settings import suggest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from lipsync_cli.faces.detectors.protocol import DetectorSpec, FaceReader

BUILT_IN = {
    "dlib": "lipsync_cli.faces.detectors.dlib",
    "dlib-mmod": "lipsync_cli.faces.detectors.dlib_mmod",
    "face-alignment": "lipsync_cli.faces.detectors.face_alignment",
}
"""Module of each, which holds its spec as ``DETECTOR``. Nothing is imported before it is asked for."""
ENTRY_POINTS = "lipsync.detectors"
"""Group in which another package registers the ``DetectorSpec`` of each detector that it adds."""


def detector_names() -> list[str]:
    """Names that ``find_detector`` knows: this package's, then those that other packages add."""
    return [*BUILT_IN, *sorted(_added().names - BUILT_IN.keys())]


def find_detector(name: str) -> DetectorSpec:
    """The detector called ``name``; this package's names cannot be taken by another.

    Raises UsageError for a name nobody has, EnvironmentProblem for a detector whose package is missing or broken.
    """
    spec = import_module(BUILT_IN[name]).DETECTOR if name in BUILT_IN else _load_added(name)
    if spec.requires and find_spec(spec.requires) is None:
        raise EnvironmentProblem(
            f"The detector {name} needs the module {spec.requires}, which is not installed.",
            hint=f"{spec.install or 'Install it'}, or use --detector dlib.",
        )
    return spec


def create_reader(name: str, *, device: str = "cpu", samples: int = 4) -> FaceReader:
    """A face reader made by the detector called ``name``; raises what ``find_detector`` does."""
    return find_detector(name).create_reader(device=device, samples=samples)


def _added() -> EntryPoints:
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


def _load_added(name: str) -> DetectorSpec:
    """The spec that another package registers under ``name``."""
    from lipsync_cli.faces.detectors.protocol import DetectorSpec

    found = _added().select(name=name)
    if not found:
        hint = suggest(name, detector_names()) or f"Choose one of: {', '.join(detector_names())}."
        raise UsageError(f"There is no face detector called {name!r}.", hint=hint)
    entry = next(iter(found))
    try:
        spec = entry.load()
    except Exception as error:  # another package's code may raise anything
        raise EnvironmentProblem(
            f"The detector {name} cannot be loaded from {entry.value}: {type(error).__name__}: {error}.",
            hint="Reinstall or remove the package that adds it.",
        ) from error
    if not isinstance(spec, DetectorSpec) or spec.name != name:
        raise EnvironmentProblem(
            f"{entry.value} is {spec!r}, where a DetectorSpec named {name!r} was expected.",
            hint="Update or remove the package that adds it.",
        )
    return spec
