"""dlib's HOG detector: fast, on the CPU, for frontal faces of 80 px and more."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from lipsync_cli.core.types import UInt8
from lipsync_cli.faces.detection import Detection, non_max_suppression
from lipsync_cli.faces.detectors.protocol import DetectorSpec
from lipsync_cli.faces.dlib_models import DlibLandmarks, box_of_rectangle

# HOG needs faces of 80 px; up to this size a picture is worth a second pass at twice its size, four times as long.
_UPSAMPLE_UP_TO_PX = 720
# Over 1400 faces in talking clips scored 0.34 and more; what scored less were folds of clothes.
_MIN_SCORE = 0.3


class DlibDetector:
    """Histograms of oriented gradients under a linear classifier (Dalal & Triggs 2005), as dlib trained them.

    Scores are margins: 0 is a doubtful face, 2 a clear one.
    """

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Detection]:
        """See FaceDetector. A picture of up to 720 px where nothing is found is searched again at twice its size."""
        picture = np.ascontiguousarray(picture)
        found = _search(picture, 0)
        if thorough and not found and max(picture.shape[:2]) <= _UPSAMPLE_UP_TO_PX:
            found = _search(picture, 1)
        return found


def _search(picture: UInt8, upsample: int) -> list[Detection]:
    boxes, scores, _ = _hog().run(picture, upsample, _MIN_SCORE)
    return non_max_suppression(
        Detection(box_of_rectangle(box), float(score)) for box, score in zip(boxes, scores, strict=True)
    )


@cache
def _hog() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


DETECTOR = DetectorSpec(
    "dlib",
    create_detector=lambda device: DlibDetector(),
    create_predictor=DlibLandmarks,
    in_worker_process=True,
)
