"""Face detectors, a file each. What a package needs to bring its own can be imported from here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipsync_cli.faces.detection import Detection
    from lipsync_cli.faces.detectors.protocol import DetectorSpec, FaceDetector, FaceReader, LandmarkPredictor
    from lipsync_cli.faces.dlib_models import DlibLandmarks

__all__ = ["Detection", "DetectorSpec", "DlibLandmarks", "FaceDetector", "FaceReader", "LandmarkPredictor"]

_HOMES = {"Detection": "detection", "DlibLandmarks": "dlib_models"}


def __getattr__(name: str) -> Any:
    """Import a name when it is wanted: the registry beside it must stay light for ``lipsync --help``."""
    if name in __all__:
        return getattr(import_module(f"lipsync_cli.faces.{_HOMES.get(name, 'detectors.protocol')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
