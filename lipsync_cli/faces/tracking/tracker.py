"""Faces over time: online, with a declared look-ahead.

``Tracker.run`` reads frames and yields each ``lookahead_frames`` later with its faces. What the look-ahead buys:
landmarks are smoothed over frames on both sides, a flash is told from a cut by what comes after it, a verdict on a
face is believed only when it lasts, and a newcomer is traced back to where it came in. At most
``lookahead_frames`` + 1 frames are held. The result depends on the frames alone, not on when they arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipsync_cli.core.types import Face, FaceState, Float32, Float64, Frame, TrackedFrame, UInt8, VideoInfo
from lipsync_cli.faces.detection import analysis_picture, view_of
from lipsync_cli.faces.detectors.protocol import FaceReader
from lipsync_cli.faces.face_patch import pose_of_box, pose_of_landmarks
from lipsync_cli.faces.identity import FaceRecogniser, Identities
from lipsync_cli.faces.options import TrackOptions
from lipsync_cli.faces.tracking.cuts import CutDetector, Signature, same_shot, signature
from lipsync_cli.faces.tracking.landmark_fit import LandmarkFitter, box_of_pose
from lipsync_cli.faces.tracking.shot_tracker import ShotState, ShotTracker
from lipsync_cli.faces.tracking.smoothing import smooth
from lipsync_cli.faces.tracking.track import Observation, Track
from lipsync_cli.faces.usability import debounced

# Frames before the current one that smoothing and verdicts may use; they cost no latency.
_PAST_FRAMES = 3


@dataclass(slots=True)
class _BufferedFrame:
    """A frame that waits for its look-ahead; ``thumbnail`` is its grey miniature."""

    frame: Frame
    shot: int
    thumbnail: Float32


@dataclass(frozen=True, slots=True)
class _PendingCut:
    """What to go back to if the cut before frame ``index`` turns out to be a flash.

    ``before`` is the last picture of the old shot, ``flash`` the first of the new one; ``recent`` is what the cut
    detector and ``state`` what tracking remembered.
    """

    index: int
    before: Signature
    flash: Signature
    recent: tuple[float, ...]
    state: ShotState


class Tracker:
    """Tracks the faces of one video, once. ``identities`` says, by track id, who they are."""

    def __init__(
        self,
        info: VideoInfo,
        reader: FaceReader,
        options: TrackOptions | None = None,
        *,
        recogniser: FaceRecogniser | None = None,
    ) -> None:
        self.info, self.options = info, options or TrackOptions()
        self.identities = Identities(recogniser)
        self._reader = reader
        self._shots = ShotTracker(info, reader, self.identities, self.options)
        self._cuts = CutDetector()
        self._buffer: deque[_BufferedFrame] = deque()
        self._pending: _PendingCut | None = None
        # Every track that a buffered frame may still show, and the state each showed last.
        self._tracks: dict[int, Track] = {}
        self._states: dict[int, FaceState] = {}

    def run(self, frames: Iterator[Frame]) -> Iterator[TrackedFrame]:
        """Each frame with its faces, ``lookahead_frames`` later.

        A face that was lost stays in the list as MISSING, where it was last, for ``bridge_s`` or until it is
        found again; then its track is over. Raises ModelError when weights are missing.
        """
        for frame in frames:
            self._add(frame)
            if len(self._buffer) > self.options.lookahead_frames:
                yield self._next()
        self._read_newest()
        while self._buffer:
            yield self._next()

    def embed_still(self, rgb: UInt8) -> Float64 | None:
        """Embedding of the largest face in an upright RGB picture ``[h w 3]``, comparable with ``identities``.

        None where there is no face.
        """
        height, width = rgb.shape[:2]
        info = VideoInfo(0, "still", width, height, "rgb24", 8, Fraction(1), Fraction(1), Fraction(0), is_still=True)
        frame = Frame(0, 0, Fraction(1), (), "rgb24", np.ascontiguousarray(rgb))
        analysis = analysis_picture(frame, info, self.options.detect_size)
        boxes = [analysis.display_box(found.box) for found in self._reader.detector.detect(analysis.picture)]
        if not boxes:
            return None
        largest = max(boxes, key=lambda box: box[2] - box[0])
        fit = LandmarkFitter(info, self._reader.predictor).fit(frame, pose_of_box(largest), None, passes=3)
        return self.identities.embed(fit.patch.rgb, fit.in_patch)

    def _add(self, frame: Frame) -> None:
        """Track one more frame: is it a new shot, or the end of a flash, and who is in it?"""
        new, before, recent = signature(view_of(frame)), self._cuts.previous, self._cuts.recent
        cut = self._cuts.push(new)
        if self._pending and frame.index - self._pending.index > self.options.lookahead_frames:
            self._pending = None
        if cut:
            self._read_newest()
        self._buffer.append(_BufferedFrame(frame, self._shots.state.shot, new.grey))
        if self._pending and same_shot(self._pending.before, self._pending.flash, new):
            self._undo_cut(self._pending, new)
            return
        if cut and before is not None:
            self._pending = self._pending or _PendingCut(frame.index, before, new, recent, self._shots.copy_state())
            self._shots.state = ShotState(self._shots.state.shot + 1)
        self._track(self._buffer[-1])

    def _undo_cut(self, cut: _PendingCut, now: Signature) -> None:
        """It was a flash: take the cut back and follow the old faces through it."""
        for track_id in [i for i, track in self._tracks.items() if track.shot > cut.state.shot]:
            del self._tracks[track_id]
            self.identities.forget(track_id)
        self._pending = None
        self._cuts.resume(now, cut.recent)
        self._shots.state = cut.state
        for buffered in self._buffer:
            if buffered.frame.index >= cut.index:
                self._track(buffered)

    def _track(self, buffered: _BufferedFrame) -> None:
        buffered.shot = self._shots.state.shot
        self._shots.update(buffered.frame, buffered.thumbnail, self._earlier(buffered))
        self._tracks.update((track.track_id, track) for track in self._shots.state.tracks)

    def _read_newest(self) -> None:
        """A shot is over: what was passed over at its end has no later observation to lie before, so read it."""
        if self._buffer:
            newest = self._buffer[-1]
            self._shots.read(newest.frame, newest.thumbnail, self._earlier(newest))

    def _earlier(self, buffered: _BufferedFrame) -> list[Frame]:
        """The buffered frames before it, of the same shot."""
        index, shot = buffered.frame.index, buffered.shot
        return [other.frame for other in self._buffer if other.shot == shot and other.frame.index < index]

    def _next(self) -> TrackedFrame:
        """The oldest buffered frame with its faces."""
        oldest = self._buffer.popleft()
        tracks = [self._tracks[track_id] for track_id in sorted(self._tracks)]
        faces = [self._face(track, oldest.frame) for track in tracks if track.shot == oldest.shot]
        self._forget(oldest)
        return TrackedFrame(oldest.frame, oldest.shot, tuple(face for face in faces if face is not None))

    def _face(self, track: Track, frame: Frame) -> Face | None:
        """The track's face in a frame, or None where it was not there yet or is gone for good."""
        so_far = [observation for observation in track.observations if observation.index <= frame.index]
        if not so_far:
            return None
        last = so_far[-1]
        if last.index == frame.index:
            return self._observed_face(track, frame.index)
        if float(frame.time) - last.time > self.options.bridge_s:
            return None
        return Face(track.track_id, box_of_pose(last.pose), last.landmarks, 0.0, last.yaw, FaceState.MISSING)

    def _observed_face(self, track: Track, index: int) -> Face:
        """The face in a frame that has an observation: smoothed over those around it."""
        near = [observation for observation in track.observations if self._counts(observation, index)]
        centre = next(i for i, observation in enumerate(near) if observation.index == index)
        landmarks = smooth([o.landmarks for o in near], [o.pose for o in near], [o.time for o in near], centre)
        states = [observation.state for observation in near]
        before, hold = self._states.get(track.track_id), self.options.quality.hold_frames
        state = self._states[track.track_id] = debounced(before, states[:centre], states[centre:], hold)
        box = box_of_pose(pose_of_landmarks(landmarks))
        yaw = float(np.clip(np.mean([observation.yaw for observation in near]), -1, 1))
        return Face(track.track_id, box, landmarks, near[centre].score, yaw, state)

    def _counts(self, observation: Observation, index: int) -> bool:
        """Whether an observation is near enough to frame ``index`` to count there."""
        return -_PAST_FRAMES <= observation.index - index <= self.options.lookahead_frames

    def _forget(self, done: _BufferedFrame) -> None:
        """Forget what no frame after ``done`` needs."""
        oldest, time = done.frame.index - _PAST_FRAMES, float(done.frame.time)
        for track_id, track in list(self._tracks.items()):
            observations = track.observations
            # The last observation so far is where a MISSING face is shown.
            while (
                len(observations) > 1 and observations[0].index < oldest and observations[1].index <= done.frame.index
            ):
                observations.popleft()
            over = track.shot < done.shot or time - observations[-1].time > self.options.bridge_s
            if over and observations[-1].index <= done.frame.index:
                del self._tracks[track_id]
                self._states.pop(track_id, None)
