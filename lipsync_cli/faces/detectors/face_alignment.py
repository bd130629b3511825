"""SFD of the face-alignment package, an optional extra: slower than HOG, but finds turned and small faces."""

from __future__ import annotations

from typing import Any

import numpy as np

from lipsync_cli.core.errors import ModelError
from lipsync_cli.core.types import UInt8
from lipsync_cli.faces.detection import Detection, non_max_suppression
from lipsync_cli.faces.detectors.protocol import DetectorSpec
from lipsync_cli.faces.dlib_models import DlibLandmarks


class FaceAlignmentDetector:
    """Single-shot scale-invariant detector (Zhang et al. 2017), on ``device``. Scores are probabilities.

    The package fetches its weights from the network when they are first used; where that fails, ModelError
    says what is missing and what to do instead.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._sfd: Any = None

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Detection]:
        """See FaceDetector."""
        if self._sfd is None:
            self._sfd = _load_sfd(self.device)
        rows = self._sfd.detect_from_image(np.ascontiguousarray(picture))
        return non_max_suppression(_detection(row) for row in rows)


def _detection(row: Any) -> Detection:
    """SFD frames a face from hairline to chin; the box wanted here is square and begins at mid-forehead."""
    x0, y0, x1, y1, score = (float(v) for v in row[:5])
    side = 0.47 * (x1 - x0 + y1 - y0)
    centre_x, bottom = (x0 + x1) / 2, y1 - 0.05 * side
    return Detection((centre_x - side / 2, bottom - side, centre_x + side / 2, bottom), score)


def _load_sfd(device: str) -> Any:
    from face_alignment.detection.sfd import FaceDetector as Sfd

    try:
        return Sfd(device=device)
    except (OSError, RuntimeError) as error:
        raise _unreachable_weights() from error


def _unreachable_weights() -> ModelError:
    from torch.hub import get_dir

    return ModelError(
        f"The weights of face-alignment's detector (s3fd-619a316812.pth) are not in {get_dir()}/checkpoints "
        "and could not be fetched from the network.",
        hint="Put the file there, or use --detector dlib.",
    )


DETECTOR = DetectorSpec(
    "face-alignment",
    create_detector=FaceAlignmentDetector,
    create_predictor=DlibLandmarks,
    requires="face_alignment",
    install="Install it with: pip install 'lipsync-cli[face-alignment]'",
)
