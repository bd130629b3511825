"""What a face detector has to be: what finds boxes, what reads the landmarks in them, and how both are made.

A new one is a file that holds a ``DetectorSpec``, and a line in the registry or, in a package of its own, an entry
point in the group ``lipsync.detectors``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from lipsync_cli.core.types import Float64, UInt8
from lipsync_cli.faces.detection import Detection


@runtime_checkable
class FaceDetector(Protocol):
    """Finds faces in a picture."""

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Detection]:
        """Faces of a contiguous uint8 RGB ``[h w 3]`` picture in its pixels, best first, without duplicates.

        Unless ``thorough``, a detector need not take a second, longer pass where the first finds nothing. Raises
        ModelError when weights are missing.
        """
        ...


@runtime_checkable
class LandmarkPredictor(Protocol):
    """Reads the 68 landmarks of one face."""

    def predict(self, patch: UInt8) -> Float64:
        """Landmarks ``[68 2]`` in pixels of ``patch``, uint8 RGB ``[160 160 3]`` with the face upright in it.

        Raises ModelError when weights are missing.
        """
        ...


@dataclass(frozen=True, slots=True)
class FaceReader:
    """All that tracking asks about pictures: where faces are, and where the landmarks of each."""

    detector: FaceDetector
    predictor: LandmarkPredictor


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """What ``--detector name`` stands for.

    ``create_detector`` takes the device of the dub ("cpu", "cuda", "mps"), which it may ignore; ``create_predictor``
    how many samples it may average, which trades speed for calm. Neither should load weights: that is for the first
    picture. With ``in_worker_process`` both are made and called in a process of their own where there is a core for
    it, always with the device "cpu"; this is for code that holds Python's lock while it works. ``requires`` names a
    module that must be there, ``install`` is what to do when it is not.
    """

    name: str
    create_detector: Callable[[str], FaceDetector]
    create_predictor: Callable[[int], LandmarkPredictor]
    in_worker_process: bool = False
    requires: str = ""
    install: str = ""

    def create_reader(self, *, device: str = "cpu", samples: int = 4) -> FaceReader:
        """A detector and a predictor of their own; errors are those of the two functions."""
        return FaceReader(self.create_detector(device), self.create_predictor(samples))
