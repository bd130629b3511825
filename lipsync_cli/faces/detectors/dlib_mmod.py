"""dlib's detector by a small network: finds turned faces too; slow without CUDA."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from lipsync_cli.core.types import UInt8
from lipsync_cli.faces.detection import Detection, non_max_suppression
from lipsync_cli.faces.detectors.protocol import DetectorSpec
from lipsync_cli.faces.dlib_models import DlibLandmarks, box_of_rectangle, model_file

# Of pictures with a side below 10 px dlib reads memory that it does not own.
_LEAST_PX = 16


class DlibMmodDetector:
    """A convolutional network trained by max-margin object detection (King 2015). Scores are margins.

    Weights load at the first picture; a missing file is a ModelError.
    """

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Detection]:
        """See FaceDetector. There is no face in a picture with a side below 16 px."""
        if min(picture.shape[:2]) < _LEAST_PX:
            return []
        found = _network()(np.ascontiguousarray(picture), 0)
        return non_max_suppression(Detection(box_of_rectangle(face.rect), float(face.confidence)) for face in found)


@cache
def _network() -> Any:
    import dlib

    return dlib.cnn_face_detection_model_v1(model_file("mmod_human_face_detector.dat"))


DETECTOR = DetectorSpec(
    "dlib-mmod",
    create_detector=lambda device: DlibMmodDetector(),
    create_predictor=DlibLandmarks,
    in_worker_process=True,
)
