"""Faces that need no weights: three coloured discs on grey, a detector and a predictor that find the discs.

The discs sit where the mean face has its eyes and its nose base, so a reading recovers the true landmarks up to
the rasterisation. Everything else about a frame (shots, flashes, occlusion) is painted around them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

from lipsync_cli.core.geometry import similarity_from_points, transform_points
from lipsync_cli.core.landmarks68 import LEFT_EYE, NOSE_BASE, RIGHT_EYE
from lipsync_cli.core.types import Frame, VideoInfo
from lipsync_cli.faces.detection import Detection
from lipsync_cli.faces.detectors.protocol import FaceReader
from lipsync_cli.faces.mean_face import MEAN_FACE

COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
ANCHORS = np.stack([MEAN_FACE[list(group), :2].mean(0) for group in (LEFT_EYE, RIGHT_EYE, NOSE_BASE)])


def video_info(width: int, height: int, *, rotation: int = 0, sar: Fraction = Fraction(1)) -> VideoInfo:
    """A 25 fps stream of that storage size."""
    return VideoInfo(
        index=0,
        codec="raw",
        width=width,
        height=height,
        pix_fmt="rgb24",
        bit_depth=8,
        time_base=Fraction(1, 25),
        rate=Fraction(25),
        start=Fraction(0),
        rotation=rotation,
        sample_aspect_ratio=sar,
    )


def frame(index: int, rgb: np.ndarray) -> Frame:
    return Frame(index, index, Fraction(1, 25), (), "rgb24", np.ascontiguousarray(rgb))


def pose(x: float, y: float, width: float, degrees: float = 0.0) -> np.ndarray:
    """Unit box → display pose of a face whose box is centred on (x, y)."""
    turn = np.deg2rad(degrees)
    linear = width * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, np.array([x, y]) - linear @ [0.5, 0.5]])


def scene(width: int, height: int, seed: int = 0, base: tuple[int, int, int] = (70, 70, 70)) -> np.ndarray:
    """A grey background of large soft blocks in which no disc colour occurs."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(-40, 40, (9, 16, 1)) + np.array(base)
    picture = cv2.resize(blocks.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(picture, 0, 140).astype(np.uint8)


def paint_face(picture: np.ndarray, where: np.ndarray, skin: int = 170, *, hood: bool = False) -> np.ndarray:
    """Draw a face at a pose: a skin-grey oval with a pattern of its own, and the three discs."""
    picture = picture.copy()
    width = float(np.linalg.norm(where[:, 0]))
    turn = float(np.degrees(np.arctan2(where[1, 0], where[0, 0])))
    centre = transform_points(where, [[0.5, 0.55]])[0]
    _ellipse(picture, centre, (0.5 * width, 0.62 * width), turn, (skin, skin, skin))
    if hood:
        _ellipse(picture, transform_points(where, [[0.3, 0.9]])[0], (0.5 * width, 0.3 * width), turn, (250, 250, 250))
    mouth = transform_points(where, [[0.5, 0.8]])[0]
    _ellipse(picture, mouth, (0.18 * width, 0.05 * width), turn, (110, 110, 110))
    for point, color in zip(transform_points(where, ANCHORS), COLORS, strict=True):
        _ellipse(picture, point, (0.06 * width, 0.06 * width), turn, color)
    return picture


def _ellipse(picture, centre, axes, degrees, color):
    shift = 6
    scaled = tuple(round(v * 2**shift) for v in centre)
    sizes = tuple(round(v * 2**shift) for v in axes)
    cv2.ellipse(picture, scaled, sizes, degrees, 0, 360, color, -1, cv2.LINE_AA, shift)


def disc_centres(picture: np.ndarray) -> list[np.ndarray]:
    """Centroids ``[n 2]`` of the discs of each colour, from left to right."""
    values = picture.astype(np.int64)
    centres = []
    for channel in range(3):
        others = [c for c in range(3) if c != channel]
        weight = np.clip(values[..., channel] - values[..., others].max(-1) - 30, 0, None)
        count, labels = cv2.connectedComponents((weight > 40).astype(np.uint8))
        found = []
        for label in range(1, count):
            ys, xs = np.nonzero(labels == label)
            if len(xs) >= 6:
                w = weight[ys, xs]
                found.append(np.array([(xs * w).sum(), (ys * w).sum()]) / w.sum())
        centres.append(np.array(sorted(found, key=lambda p: p[0])).reshape(-1, 2))
    return centres


@dataclass
class DiscDetector:
    """Finds faces whose three discs are all there; ``calls`` counts looks at whole pictures."""

    calls: int = 0
    blind: set[int] = field(default_factory=set)

    def detect(self, picture: np.ndarray, *, thorough: bool = True) -> list[Detection]:
        self.calls += 1
        assert picture.flags["C_CONTIGUOUS"]
        centres = disc_centres(picture)
        found = []
        for points in zip(*centres, strict=False):
            fit = similarity_from_points(ANCHORS, np.stack(points))
            side = float(np.linalg.norm(fit[:, 0]))
            x, y = transform_points(fit, [[0.5, 0.5]])[0]
            found.append(Detection((x - side / 2, y - side / 2, x + side / 2, y + side / 2), 1.0))
        return found


class DiscPredictor:
    """Lays the mean face on the discs nearest to the middle of the patch; without any, where it is expected."""

    def predict(self, patch: np.ndarray) -> np.ndarray:
        centres = disc_centres(patch)
        middle = (np.array(patch.shape[:2]) - 1) / 2
        if any(len(points) == 0 for points in centres):
            return MEAN_FACE[:, :2] * 100 + 29.5
        nearest = [points[np.argmin(np.linalg.norm(points - middle, axis=1))] for points in centres]
        return transform_points(similarity_from_points(ANCHORS, np.stack(nearest)), MEAN_FACE[:, :2])


def disc_reader() -> FaceReader:
    """The two together."""
    return FaceReader(DiscDetector(), DiscPredictor())


class SkinRecogniser:
    """Tells people by the grey of their skin: 40 grey levels are one unit."""

    def __init__(self) -> None:
        self.calls = 0

    def embed(self, patch: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        self.calls += 1
        x, y = ((landmarks[36] + landmarks[48]) / 2).round().astype(int)
        return np.array([float(patch[y - 2 : y + 3, x - 2 : x + 3].mean()) / 40])
