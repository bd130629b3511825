"""Where the faces are in one picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, cast, runtime_checkable

import cv2
import numpy as np

from lipsync_cli.core.errors import EnvironmentProblem, ModelError, UsageError
from lipsync_cli.core.types import Float64, Frame, RgbView, UInt8, VideoInfo
from lipsync_cli.faces.landmark_predictor import model_file

DETECTORS = ("dlib", "dlib-mmod", "face-alignment")
Box = tuple[float, float, float, float]
# HOG needs faces of 80 px; up to this size a picture is worth the four times longer look at twice its size.
_UPSAMPLE_UP_TO_PX = 720
# Over 1400 faces in talking clips scored 0.34 and more; what scored less were folds of clothes.
_HOG_MIN_SCORE = 0.3
_DUPLICATE_IOU = 0.4


@dataclass(frozen=True, slots=True)
class Detection:
    """A face: a square-ish ``box`` x0, y0, x1, y1 from mid-forehead to chin, and the detector's own score."""

    box: Box
    score: float


@runtime_checkable
class FaceDetector(Protocol):
    """Finds faces in a picture."""

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Detection]:
        """Faces of a contiguous uint8 RGB ``[h w 3]`` picture in its pixels, best first, without duplicates.

        Unless ``thorough``, a detector need not take a second, longer look where the first finds nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Analysis:
    """A small, upright, square-pixel copy of a frame, and its affine ``to_display`` map ``[2 3]``."""

    picture: UInt8
    to_display: Float64

    def display_box(self, box: Box) -> Box:
        """A box of the picture in display pixels."""
        (ax, _, tx), (_, ay, ty) = self.to_display.tolist()
        return (box[0] * ax + tx, box[1] * ay + ty, box[2] * ax + tx, box[3] * ay + ty)


def pixels(frame: Frame) -> UInt8:
    """All of the RGB view of a frame, ``[h w 3]`` in storage orientation; ValueError once it has been let go."""
    view = view_of(frame)
    return view if isinstance(view, np.ndarray) else view.whole()


def view_of(frame: Frame) -> UInt8 | RgbView:
    """The RGB view of a frame, whole or to be made where it is looked at; ValueError once it has been let go."""
    if frame.rgb is None:
        raise ValueError(f"{frame!r} has no RGB view left to look at")
    return frame.rgb


def analysis_picture(frame: Frame, info: VideoInfo, long_side: int) -> Analysis:
    """Shrink ``frame.rgb`` to at most ``long_side`` pixels along its longer side in display, and turn it upright."""
    picture = pixels(frame)
    width, height = info.display_size
    scale = min(1.0, long_side / max(width, height))
    out_w, out_h = max(1, round(width * scale)), max(1, round(height * scale))
    stored = (out_h, out_w) if info.rotation in (90, 270) else (out_w, out_h)
    if (picture.shape[1], picture.shape[0]) != stored:
        picture = cast(UInt8, cv2.resize(picture, stored, interpolation=cv2.INTER_AREA))
    upright = np.ascontiguousarray(np.rot90(picture, -info.rotation // 90))
    sx, sy = width / out_w, height / out_h
    return Analysis(upright, np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5]]))


class DlibDetector:
    """dlib's detectors: ``hog`` (fast, frontal, on the CPU) or ``mmod`` (a small network; slow without CUDA).

    Weights load at the first picture; a missing file is a ModelError. HOG scores are margins (0 is a doubtful
    face, 2 a clear one); mmod's are margins too.
    """

    def __init__(self, kind: Literal["hog", "mmod"] = "hog") -> None:
        self.kind = kind

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Detection]:
        """See FaceDetector. A picture of up to 720 px where HOG finds nothing is seen again at twice its size."""
        picture = np.ascontiguousarray(picture)
        if self.kind == "mmod":
            return distinct(_mmod_detection(found) for found in _mmod()(picture, 0))
        found = self._hog(picture, 0)
        if thorough and not found and max(picture.shape[:2]) <= _UPSAMPLE_UP_TO_PX:
            found = self._hog(picture, 1)
        return found

    def _hog(self, picture: UInt8, upsample: int) -> list[Detection]:
        boxes, scores, _ = _hog().run(picture, upsample, _HOG_MIN_SCORE)
        return distinct(Detection(_edges(box), float(score)) for box, score in zip(boxes, scores, strict=True))


class FaceAlignmentDetector:
    """SFD of the face-alignment package, an optional extra: slower than HOG, but finds turned and small faces.

    The package fetches its weights from the network when they are first used; where that fails, ModelError
    says what is missing and what to do instead. Scores are probabilities.
    """

    def __init__(self, *, device: str = "cpu") -> None:
        self.device = device
        self._sfd: Any = None

    def detect(self, picture: UInt8, *, thorough: bool = True) -> list[Detection]:
        """See FaceDetector."""
        if self._sfd is None:
            self._sfd = _load_sfd(self.device)
        rows = self._sfd.detect_from_image(np.ascontiguousarray(picture))
        return distinct(_sfd_detection(row) for row in rows)


def create_detector(name: str, *, device: str = "cpu") -> FaceDetector:
    """The detector called ``name``, one of ``DETECTORS``; ``device`` matters to face-alignment only."""
    if name == "dlib":
        return DlibDetector("hog")
    if name == "dlib-mmod":
        return DlibDetector("mmod")
    if name == "face-alignment":
        return FaceAlignmentDetector(device=device)
    raise UsageError(f"There is no face detector called {name!r}.", hint=f"Choose one of: {', '.join(DETECTORS)}.")


def iou(a: Box, b: Box) -> float:
    """Area of the intersection of two boxes over that of their union, 0 … 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total


def distinct(detections: Iterable[Detection]) -> list[Detection]:
    """Best first, each dropped that overlaps a better one. Equal scores keep left-to-right order."""
    kept: list[Detection] = []
    for found in sorted(detections, key=lambda d: (-d.score, d.box)):
        if all(iou(found.box, other.box) < _DUPLICATE_IOU for other in kept):
            kept.append(found)
    return kept


def _edges(rectangle: Any) -> Box:
    """dlib's rectangles include their last pixel."""
    return (rectangle.left() - 0.5, rectangle.top() - 0.5, rectangle.right() + 0.5, rectangle.bottom() + 0.5)


def _mmod_detection(found: Any) -> Detection:
    return Detection(_edges(found.rect), float(found.confidence))


def _sfd_detection(row: Any) -> Detection:
    """SFD frames a face from hairline to chin; the box wanted here is square and begins at mid-forehead."""
    x0, y0, x1, y1, score = (float(v) for v in row[:5])
    side = 0.47 * (x1 - x0 + y1 - y0)
    centre_x, bottom = (x0 + x1) / 2, y1 - 0.05 * side
    return Detection((centre_x - side / 2, bottom - side, centre_x + side / 2, bottom), score)


@cache
def _hog() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


@cache
def _mmod() -> Any:
    import dlib

    return dlib.cnn_face_detection_model_v1(model_file("mmod_human_face_detector.dat"))


def _load_sfd(device: str) -> Any:
    try:
        from face_alignment.detection.sfd import FaceDetector as Sfd
    except ImportError as error:
        raise EnvironmentProblem(
            "The detector face-alignment needs a package that is not installed.",
            hint="Install it with: pip install 'lipsync-cli[face-alignment]', or use --detector dlib.",
        ) from error
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
