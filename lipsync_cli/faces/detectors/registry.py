"""The face detectors: those of this package, and those that other packages bring along.

A package brings a detector by an entry point of the group ``lipsync.detectors`` that names its ``DetectorSpec``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lipsync_cli.core.errors import EnvironmentProblem, UsageError
from lipsync_cli.settings import suggest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from lipsync_cli.faces.detectors.protocol import DetectorSpec, FaceReader

GROUP = "lipsync.detectors"
BUILT_IN = {
    "dlib": "lipsync_cli.faces.detectors.dlib",
    "dlib-mmod": "lipsync_cli.faces.detectors.dlib_mmod",
    "face-alignment": "lipsync_cli.faces.detectors.face_alignment",
}
"""Name → module, which holds the spec as ``DETECTOR`` and is imported when it is wanted."""


def detector_names() -> list[str]:
    """Names that ``find_detector`` knows: this package's, then those that other packages bring."""
    return [*BUILT_IN, *sorted(_brought_along())]


def find_detector(name: str) -> DetectorSpec:
    """The detector called ``name``; this package's names cannot be taken by another.

    Raises UsageError for a name nobody has, EnvironmentProblem for a detector whose package is missing or broken.
    """
    spec = import_module(BUILT_IN[name]).DETECTOR if name in BUILT_IN else _load(name)
    if spec.requires and find_spec(spec.requires) is None:
        raise EnvironmentProblem(
            f"The detector {name} needs the module {spec.requires}, which is not installed.",
            hint=f"{spec.install or 'Install it'}, or use --detector dlib.",
        )
    return spec


def create_reader(name: str, *, device: str = "cpu", samples: int = 4) -> FaceReader:
    """A face reader made by the detector called ``name``; raises what ``find_detector`` does."""
    return find_detector(name).create_reader(device=device, samples=samples)


def _brought_along() -> dict[str, EntryPoint]:
    """By name, what other packages register."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP) if point.name not in BUILT_IN}


def _load(name: str) -> DetectorSpec:
    """The spec that another package registers under ``name``."""
    from lipsync_cli.faces.detectors.protocol import DetectorSpec

    point = _brought_along().get(name)
    if point is None:
        hint = suggest(name, detector_names()) or f"Choose one of: {', '.join(detector_names())}."
        raise UsageError(f"There is no face detector called {name!r}.", hint=hint)
    package = point.dist.name if point.dist is not None else point.value
    try:
        spec = point.load()
    except Exception as error:  # whatever goes wrong in somebody else's package
        raise EnvironmentProblem(
            f"The detector {name!r} of package {package} cannot be loaded: {error}", hint=f"Mend or remove {package}."
        ) from error
    if isinstance(spec, DetectorSpec) and spec.name == name:
        return spec
    raise EnvironmentProblem(
        f"Package {package} names something as the detector {name!r} that is none.",
        hint=f"An entry point of {GROUP} names a DetectorSpec, under the name that it has itself.",
    )
