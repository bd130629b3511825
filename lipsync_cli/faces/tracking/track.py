"""One face followed from frame to frame: what tracking remembers of it, and where it should be next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import Box, FaceState, Float32, Float64, Frame
from lipsync_cli.faces.tracking.landmark_fit import LandmarkFit, normalised
from lipsync_cli.faces.tracking.occlusion import OcclusionModel

_APPEARANCE_RATE = 0.15
# Half the last speed, for at most so long, is how far a face is expected to have moved on.
_DAMPING, _COASTING_S = 0.5, 0.1
_SPEED_WITHIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Observation:
    """What a track keeps of a fit: ``state`` is this frame's own verdict, before any hysteresis."""

    index: int
    time: float
    landmarks: Float64
    pose: Float64
    yaw: float
    score: float
    state: FaceState

    def interpolated(self, other: Observation, frame: Frame) -> Observation:
        """What was not read of ``frame``, which lies between this and ``other``: on the straight way, and in the
        state of whichever is hindered."""
        share = (float(frame.time) - self.time) / (other.time - self.time)
        return Observation(
            frame.index,
            float(frame.time),
            self.landmarks + share * (other.landmarks - self.landmarks),
            self.pose + share * (other.pose - self.pose),
            self.yaw + share * (other.yaw - self.yaw),
            self.score,
            self.state if other.state == FaceState.OK else other.state,
        )


@dataclass(slots=True)
class Track:
    """A face of one shot.

    ``appearance`` ``[24 24]`` is a running mean, ``pose`` the last one (unit box → display) at ``last_time`` seconds,
    ``velocity`` in display pixels a second; a detector found the face at ``confirmed_time``, with ``score``.
    ``observations`` are the last few, oldest first.
    """

    track_id: int
    shot: int
    appearance: Float32
    pose: Float64
    last_time: float
    confirmed_time: float
    score: float
    velocity: Float64 = field(default_factory=lambda: np.zeros(2))
    state: FaceState = FaceState.OK
    occlusion: OcclusionModel = field(default_factory=OcclusionModel)
    observations: deque[Observation] = field(default_factory=deque)

    def predict(self, time: float) -> Float64:
        """Pose expected at ``time``: the last one, moved on at half its last speed."""
        pose = self.pose.copy()
        pose[:, 2] += _DAMPING * self.velocity * min(time - self.last_time, _COASTING_S)
        return pose

    def move_to(self, fit: LandmarkFit, time: float) -> None:
        """Take a fit at ``time`` as this face's."""
        step = time - self.last_time
        moved = transform_points(fit.pose, [[0.5, 0.5]])[0] - transform_points(self.pose, [[0.5, 0.5]])[0]
        self.velocity = moved / step if 0 < step < _SPEED_WITHIN_S else np.zeros(2)
        self.appearance = normalised(self.appearance + _APPEARANCE_RATE * (fit.appearance - self.appearance))
        self.pose, self.last_time = fit.pose, time

    def confirm(self, time: float, score: float) -> None:
        """A detector has found the face."""
        self.confirmed_time, self.score = time, score

    def add(self, new: Observation, between: Iterable[Frame]) -> None:
        """Append an observation, and before it interpolated ones for the frames ``between`` it and the last."""
        if self.observations:
            last = self.observations[-1]
            self.observations.extend(last.interpolated(new, frame) for frame in between if frame.index > last.index)
        self.observations.append(new)

    def extent_at(self, index: int) -> Box | None:
        """The box around the landmarks in frame ``index``, if the face was observed there."""
        for observation in self.observations:
            if observation.index == index:
                low, high = observation.landmarks.min(0).tolist(), observation.landmarks.max(0).tolist()
                return (low[0], low[1], high[0], high[1])
        return None
