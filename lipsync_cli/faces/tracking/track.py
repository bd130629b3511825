"""One face followed from frame to frame: where it should be next, and whether what is there is still it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np

from lipsync_cli.core.geometry import invert_affine, transform_points
from lipsync_cli.core.types import FaceState, Float32, Float64, Frame, UInt8, VideoInfo
from lipsync_cli.faces.detection import Box, view_of
from lipsync_cli.faces.detectors.protocol import LandmarkPredictor
from lipsync_cli.faces.face_patch import FacePatch, cut_patch, pose_of_landmarks, shape_residual
from lipsync_cli.faces.head_pose import HeadPose, head_pose
from lipsync_cli.faces.tracking.occlusion import MouthMemory

_LOOK_PX = 24
_MARGIN_PX, _FACE_PX = 30, 100
# Likeness is a correlation: the same face from frame to frame has 0.9 and more, a wall or another face 0.5 and less.
LIKE = 0.6
_MAX_RESIDUAL = 0.12
_MAX_GROWTH = 1.25
# Beyond this shift, in box widths, the patch was badly placed and is cut again.
_RECUT = 0.06
_LOOK_RATE = 0.15


@dataclass(frozen=True, slots=True)
class LandmarkFit:
    """One look at a face: raw ``landmarks`` ``[68 2]`` and ``pose`` (unit box → display), the ``patch`` they were
    read from, the patch's ``look`` and how ``like`` the track's look it is, −1 … 1."""

    landmarks: Float64
    pose: Float64
    patch: FacePatch
    head: HeadPose
    look: Float32
    like: float

    @property
    def box(self) -> Box:
        """Upright square around the pose."""
        return box_of_pose(self.pose)

    @property
    def in_patch(self) -> Float64:
        """The landmarks in pixels of the patch."""
        return transform_points(self.patch.matrix, self.landmarks)

    @property
    def width_px(self) -> float:
        return float(np.linalg.norm(self.pose[:, 0]))


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a track keeps of a reading: ``hindrance`` is this frame's own verdict, before any hysteresis."""

    index: int
    time: float
    landmarks: Float64
    pose: Float64
    yaw: float
    score: float
    hindrance: FaceState

    def towards(self, other: Sighting, frame: Frame) -> Sighting:
        """What was not read of ``frame``, which lies between this and ``other``: on the straight way, and hindered by
        what hinders either."""
        share = (float(frame.time) - self.time) / (other.time - self.time)
        return Sighting(
            frame.index,
            float(frame.time),
            self.landmarks + share * (other.landmarks - self.landmarks),
            self.pose + share * (other.pose - self.pose),
            self.yaw + share * (other.yaw - self.yaw),
            self.score,
            self.hindrance if other.hindrance == FaceState.OK else other.hindrance,
        )


@dataclass(slots=True)
class Track:
    """A face with its memory. ``look`` is what it looked like lately, ``sightings`` the last few."""

    track_id: int
    shot: int
    look: Float32
    pose: Float64
    seen: float
    confirmed: float
    score: float
    velocity: Float64 = field(default_factory=lambda: np.zeros(2))
    hindrance: FaceState = FaceState.OK
    mouth: MouthMemory = field(default_factory=MouthMemory)
    sightings: deque[Sighting] = field(default_factory=deque)

    def predict(self, time: float) -> Float64:
        """Pose expected at ``time``: the last one, moved on at half its last speed."""
        pose = self.pose.copy()
        pose[:, 2] += 0.5 * self.velocity * min(time - self.seen, 0.1)
        return pose

    def accept(self, reading: LandmarkFit, time: float) -> None:
        """Take a reading as this face's."""
        step = time - self.seen
        centre = transform_points(reading.pose, [[0.5, 0.5]])[0] - transform_points(self.pose, [[0.5, 0.5]])[0]
        self.velocity = centre / step if 0 < step < 0.2 else np.zeros(2)
        self.look = _normalised(self.look + _LOOK_RATE * (reading.look - self.look))
        self.pose, self.seen = reading.pose, time


class Reader:
    """Reads faces in frames of one video."""

    def __init__(self, info: VideoInfo, predictor: LandmarkPredictor) -> None:
        self._to_display = info.to_display
        self._predictor = predictor

    def read(self, frame: Frame, pose: Float64, look: Float32 | None, *, looks: int = 2) -> LandmarkFit:
        """Read the face near ``pose``, at most ``looks`` times: again where it lay far from there."""
        picture = view_of(frame)
        for turn in range(looks):
            patch = cut_patch(picture, self._to_display, pose)
            found = transform_points(invert_affine(patch.matrix), self._predictor.predict(patch.rgb))
            previous, pose = pose, pose_of_landmarks(found)
            if turn and _shift(previous, pose) < _RECUT:
                break
            if not turn and look is not None and _shift(previous, pose) < _RECUT:
                break
        seen = look_of(patch.rgb)
        like = float((seen * look).sum()) if look is not None else 1.0
        return LandmarkFit(found, pose, patch, head_pose(found), seen, like)


def plausible(reading: LandmarkFit, before: Float64, display: tuple[int, int]) -> bool:
    """Whether a reading can be the face that had the pose ``before``: shape, size and place all fit."""
    growth = reading.width_px / max(float(np.linalg.norm(before[:, 0])), 1e-6)
    if not 1 / _MAX_GROWTH < growth < _MAX_GROWTH or shape_residual(reading.landmarks, reading.pose) > _MAX_RESIDUAL:
        return False
    x, y = transform_points(reading.pose, [[0.5, 0.5]])[0].tolist()
    return bool(0 <= x < display[0] and 0 <= y < display[1])


def look_of(patch: UInt8) -> Float32:
    """What a face patch looks like: its box in grey, ``[24 24]``, mean 0 and norm 1."""
    inner = patch[_MARGIN_PX : _MARGIN_PX + _FACE_PX, _MARGIN_PX : _MARGIN_PX + _FACE_PX]
    grey = cv2.cvtColor(np.ascontiguousarray(inner), cv2.COLOR_RGB2GRAY)
    return _normalised(cv2.resize(grey, (_LOOK_PX, _LOOK_PX), interpolation=cv2.INTER_AREA).astype(np.float32))


def box_of_pose(pose: Float64) -> Box:
    """Upright square box, as wide as the pose's unit box, around its centre."""
    half = float(np.linalg.norm(pose[:, 0])) / 2
    x, y = transform_points(pose, [[0.5, 0.5]])[0].tolist()
    return (x - half, y - half, x + half, y + half)


def _normalised(grey: Float32) -> Float32:
    centred = grey - grey.mean()
    return cast(Float32, centred / max(float(np.linalg.norm(centred)), 1e-6))


def _shift(a: Float64, b: Float64) -> float:
    """Largest move of a corner of the unit box between two poses, in widths of the second."""
    box = np.array([[0.0, 0.0], [1, 0], [0, 1], [1, 1]])
    moved = np.linalg.norm(transform_points(a, box) - transform_points(b, box), axis=1)
    return float(moved.max() / max(float(np.linalg.norm(b[:, 0])), 1e-6))
