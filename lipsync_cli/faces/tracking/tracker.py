"""Faces over time: online, with a declared look-ahead.

``Tracker.run`` reads frames and hands each on ``lookahead_frames`` later with its faces. What the look-ahead buys:
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
from lipsync_cli.faces.options import QualityOptions, TrackOptions
from lipsync_cli.faces.tracking.cuts import CutDetector, Signature, same_shot, signature
from lipsync_cli.faces.tracking.scene import Scene, SceneState
from lipsync_cli.faces.tracking.smoothing import smooth
from lipsync_cli.faces.tracking.track import Reader, Sighting, Track, box_of_pose
from lipsync_cli.faces.usability import settle

__all__ = ["QualityOptions", "TrackOptions", "Tracker", "track"]

# Frames before the current one that smoothing and verdicts may use; they cost no latency.
_PAST_FRAMES = 3


@dataclass(slots=True)
class _Held:
    """A frame that waits for its look-ahead."""

    frame: Frame
    shot: int
    thumbnail: Float32


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What to go back to if the cut before frame ``index`` turns out to be a flash."""

    index: int
    before: Signature
    flash: Signature
    recent: tuple[float, ...]
    scene: SceneState


class Tracker:
    """Tracks the faces of one video, once. ``identities`` tells, by track id, who was seen."""

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
        self._scene = Scene(info, reader.detector, Reader(info, reader.predictor), self.identities, self.options)
        self._cuts = CutDetector()
        self._held: deque[_Held] = deque()
        self._doubt: _Doubt | None = None
        # Every track that a held frame may still show, and the state each showed last.
        self._showing: dict[int, Track] = {}
        self._shown: dict[int, FaceState] = {}

    def run(self, frames: Iterator[Frame]) -> Iterator[TrackedFrame]:
        """Each frame with its faces, ``lookahead_frames`` later.

        A face that was lost stays in the list as MISSING, where it was last, for ``bridge_s`` or until it is
        found again; then its track is over. Raises ModelError when weights are missing.
        """
        for frame in frames:
            self._take(frame)
            if len(self._held) > self.options.lookahead_frames:
                yield self._hand_on()
        self._catch_up()
        while self._held:
            yield self._hand_on()

    def embed_still(self, rgb: UInt8) -> Float64 | None:
        """Embedding of the largest face in an upright RGB picture ``[h w 3]``, comparable with ``identities``."""
        height, width = rgb.shape[:2]
        info = VideoInfo(0, "still", width, height, "rgb24", 8, Fraction(1), Fraction(1), Fraction(0), is_still=True)
        frame = Frame(0, 0, Fraction(1), (), "rgb24", np.ascontiguousarray(rgb))
        analysis = analysis_picture(frame, info, self.options.detect_size)
        boxes = [analysis.display_box(found.box) for found in self._reader.detector.detect(analysis.picture)]
        if not boxes:
            return None
        largest = max(boxes, key=lambda box: box[2] - box[0])
        reading = Reader(info, self._reader.predictor).read(frame, pose_of_box(largest), None, looks=3)
        return self.identities.embed(reading.patch.rgb, reading.in_patch)

    def _take(self, frame: Frame) -> None:
        """Read one more frame: is it a new shot, or the end of a flash, and who is in it?"""
        new, before, recent = signature(view_of(frame)), self._cuts.previous, self._cuts.recent
        cut = self._cuts.push(new)
        if self._doubt and frame.index - self._doubt.index > self.options.lookahead_frames:
            self._doubt = None
        if cut:
            self._catch_up()
        self._held.append(_Held(frame, self._scene.state.shot, new.grey))
        if self._doubt and same_shot(self._doubt.before, self._doubt.flash, new):
            self._go_back(self._doubt, new)
            return
        if cut and before is not None:
            self._doubt = self._doubt or _Doubt(frame.index, before, new, recent, self._scene.copy_state())
            self._scene.state = SceneState(self._scene.state.shot + 1)
        self._observe(self._held[-1])

    def _go_back(self, doubt: _Doubt, now: Signature) -> None:
        """It was a flash: take the cut back and follow the old faces through it."""
        for track_id in [i for i, track in self._showing.items() if track.shot > doubt.scene.shot]:
            del self._showing[track_id]
            self.identities.forget(track_id)
        self._doubt = None
        self._cuts.resume(now, doubt.recent)
        self._scene.state = doubt.scene
        for held in self._held:
            if held.frame.index >= doubt.index:
                self._observe(held)

    def _catch_up(self) -> None:
        """A shot is over: what was passed over at its end has no later reading to lie before, so read it."""
        if self._held:
            last = self._held[-1]
            self._scene.read(last.frame, last.thumbnail, self._before(last))

    def _before(self, held: _Held) -> list[Frame]:
        """The frames before it that are held, of the same shot."""
        index = held.frame.index
        return [other.frame for other in self._held if other.shot == held.shot and other.frame.index < index]

    def _observe(self, held: _Held) -> None:
        held.shot = self._scene.state.shot
        self._scene.observe(held.frame, held.thumbnail, self._before(held))
        self._showing.update((track.track_id, track) for track in self._scene.state.tracks)

    def _hand_on(self) -> TrackedFrame:
        held = self._held.popleft()
        faces = []
        for track_id in sorted(self._showing):
            track = self._showing[track_id]
            face = self._face(track, held.frame) if track.shot == held.shot else None
            if face is not None:
                faces.append(face)
        self._let_go(held)
        return TrackedFrame(held.frame, held.shot, tuple(faces))

    def _face(self, track: Track, frame: Frame) -> Face | None:
        """The track's face in a frame, or None where it was not there yet or is gone for good."""
        known = [seen for seen in track.sightings if seen.index <= frame.index]
        if not known:
            return None
        last = known[-1]
        if last.index == frame.index:
            return self._seen_face(track, frame.index)
        if float(frame.time) - last.time > self.options.bridge_s:
            return None
        return Face(track.track_id, box_of_pose(last.pose), last.landmarks, 0.0, last.yaw, FaceState.MISSING)

    def _seen_face(self, track: Track, index: int) -> Face:
        near = [seen for seen in track.sightings if self._reaches(seen, index)]
        centre = next(i for i, seen in enumerate(near) if seen.index == index)
        now = near[centre]
        readings, poses = [seen.landmarks for seen in near], [seen.pose for seen in near]
        landmarks = smooth(readings, poses, [seen.time for seen in near], centre)
        past = [seen.hindrance for seen in near[:centre]]
        coming = [seen.hindrance for seen in near[centre:]]
        state = settle(self._shown.get(track.track_id), past, coming, self.options.quality.hold_frames)
        self._shown[track.track_id] = state
        yaw = float(np.clip(np.mean([seen.yaw for seen in near]), -1, 1))
        return Face(track.track_id, box_of_pose(pose_of_landmarks(landmarks)), landmarks, now.score, yaw, state)

    def _reaches(self, seen: Sighting, index: int) -> bool:
        return -_PAST_FRAMES <= seen.index - index <= self.options.lookahead_frames

    def _let_go(self, handed: _Held) -> None:
        """Forget what no later frame needs."""
        oldest, time = handed.frame.index - _PAST_FRAMES, float(handed.frame.time)
        for track_id, track in list(self._showing.items()):
            seen = track.sightings
            # The last sighting so far is where a MISSING face is shown.
            while len(seen) > 1 and seen[0].index < oldest and seen[1].index <= handed.frame.index:
                seen.popleft()
            over = track.shot < handed.shot or time - track.sightings[-1].time > self.options.bridge_s
            if over and track.sightings[-1].index <= handed.frame.index:
                del self._showing[track_id]
                self._shown.pop(track_id, None)


def track(
    frames: Iterator[Frame], info: VideoInfo, reader: FaceReader, options: TrackOptions | None = None
) -> Iterator[TrackedFrame]:
    """``Tracker.run`` for callers that do not ask who the faces are."""
    return Tracker(info, reader, options).run(frames)
