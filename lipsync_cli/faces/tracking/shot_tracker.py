"""The faces of the current shot: followed by their landmarks, confirmed, lost and found by the detector."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import Box, FaceState, Float32, Float64, Frame, VideoInfo
from lipsync_cli.faces.detection import Detection, analysis_picture, iou
from lipsync_cli.faces.detectors.protocol import FaceReader
from lipsync_cli.faces.face_patch import PATCH_PX, UNIT_TO_PATCH, pose_of_box
from lipsync_cli.faces.identity import Identities
from lipsync_cli.faces.options import TrackOptions
from lipsync_cli.faces.tracking.association import (
    MATCH_IOU,
    ONE_FACE_IOU,
    match_detections,
    one_track_per_face,
    same_person,
    within_reach,
)
from lipsync_cli.faces.tracking.background_change import BackgroundChange
from lipsync_cli.faces.tracking.landmark_fit import (
    MIN_SIMILARITY,
    LandmarkFit,
    LandmarkFitter,
    box_of_pose,
    plausible,
)
from lipsync_cli.faces.tracking.occlusion import lower_face
from lipsync_cli.faces.tracking.track import Observation, Track
from lipsync_cli.faces.usability import usability_of

# Below this overlap with its detection, landmarks have slipped and are fitted anew from the detection.
_SLIPPED_IOU = 0.5
_MIN_SIMILARITY_BACKWARDS = 0.8
# A track whose last fit is no older than this is still in its place.
_IN_PLACE_S = 0.1
# The whole picture is searched at least every so many detections, whatever it shows.
_MOST_SKIPPED = 4
# A face this wide gives as good an embedding as it ever will.
_FULL_MERIT_PX = 100


@dataclass(slots=True)
class ShotState:
    """What a shot's tracking remembers. Copied before a doubtful cut, so that it can be taken back.

    ``searched`` is the thumbnail of the last frame that was searched as a whole, ``skipped`` how many searches
    have been spared since; ``unread`` how many frames have passed since faces were read.
    """

    shot: int = 0
    tracks: list[Track] = field(default_factory=list)
    since_detection: int = 0
    frames: int = 0
    searched: Float32 | None = None
    skipped: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class _FrameFits:
    """The frame in hand, and by track id what has been fitted in it so far.

    ``thumbnail`` is its grey miniature, ``earlier`` the frames of the shot that are still held, oldest first.
    """

    frame: Frame
    thumbnail: Float32
    earlier: Sequence[Frame]
    fits: dict[int, LandmarkFit] = field(default_factory=dict)

    @property
    def time(self) -> float:
        return float(self.frame.time)


class ShotTracker:
    """Follows the faces of one shot at a time; ``state.tracks`` are those that are there or were a moment ago."""

    def __init__(self, info: VideoInfo, reader: FaceReader, identities: Identities, options: TrackOptions) -> None:
        self._info, self._detector, self._identities = info, reader.detector, identities
        self._fitter = LandmarkFitter(info, reader.predictor)
        self._options = options
        self._display = info.display_size
        self._background = BackgroundChange(info)
        self._next_id = 0
        self.state = ShotState()

    def copy_state(self) -> ShotState:
        """An independent copy of what is remembered."""
        return copy.deepcopy(self.state)

    def update(self, frame: Frame, thumbnail: Float32, earlier: Sequence[Frame]) -> None:
        """Follow and find the faces of the shot's next frame, whose grey ``thumbnail`` shows what is new.

        ``earlier`` are the frames of the shot still held, oldest first: a newcomer is traced back through them.
        """
        state = self.state
        state.frames += 1
        state.since_detection += 1
        state.unread += 1
        if state.unread >= self._options.read_every or not self._may_pass_over(frame):
            self.read(frame, thumbnail, earlier)

    def read(self, frame: Frame, thumbnail: Float32, earlier: Sequence[Frame]) -> None:
        """Read the faces of the newest frame, if that was not done yet, and interpolate in those passed over."""
        state = self.state
        if not state.unread:
            return
        state.unread = 0
        now = _FrameFits(frame, thumbnail, earlier)
        state.tracks = [t for t in state.tracks if now.time - t.last_time <= self._options.bridge_s]
        self._follow(now)
        lost = len(now.fits) < len(state.tracks)
        if state.frames == 1 or lost or state.since_detection >= self._options.detect_every:
            state.since_detection = 0
            if lost or not self._confirm_in_patches(now):
                state.searched, state.skipped = thumbnail, 0
                self._search(now)
        for track in one_track_per_face(state.tracks, now.fits):
            self._accept(track, now)

    def _may_pass_over(self, frame: Frame) -> bool:
        """Whether every face was where it should be and free when last read, so that ``frame`` need not be read."""
        last_read = frame.index - self.state.unread
        tracks = self.state.tracks
        return bool(tracks) and all(
            t.state == FaceState.OK and t.observations and t.observations[-1].index == last_read for t in tracks
        )

    def _follow(self, now: _FrameFits) -> None:
        """Fit landmarks where each track should be, and keep those that plausibly are its face."""
        for track in self.state.tracks:
            expected = track.predict(now.time)
            fit = self._fitter.fit(now.frame, expected, track.appearance)
            if fit.similarity >= MIN_SIMILARITY and plausible(fit, expected, self._display):
                now.fits[track.track_id] = fit

    def _confirm_in_patches(self, now: _FrameFits) -> bool:
        """Spare a search: nothing is new around the faces, and the detector finds each in its own patch."""
        state = self.state
        if not now.fits or state.searched is None or state.skipped >= _MOST_SKIPPED:
            return False
        if self._background.changed(state.searched, now.thumbnail, [fit.box for fit in now.fits.values()]):
            return False
        found = [self._detect_in_patch(now.fits[track.track_id], _SLIPPED_IOU) for track in state.tracks]
        if not all(found):
            return False
        for track, detections in zip(state.tracks, found, strict=True):
            track.confirm(now.time, detections[0].score)
        state.skipped += 1
        return True

    def _search(self, now: _FrameFits) -> None:
        """Search the whole picture: confirm, correct, find again and find."""
        analysis = analysis_picture(now.frame, self._info, self._options.detect_size)
        found = [
            Detection(analysis.display_box(d.box), d.score)
            for d in self._detector.detect(analysis.picture, thorough=not now.fits)
        ]
        pairs = match_detections(found, {t.track_id: _expected_box(t, now) for t in self.state.tracks})
        for track in list(self.state.tracks):
            detection = pairs.pop(track.track_id, None)
            if detection is not None:
                found.remove(detection)
                self._confirm(track, detection, now)
            elif track.track_id in now.fits:
                self._confirm_alone(track, now)
        for detection in sorted(found, key=lambda d: (d.box[0] - d.box[2], d.box)):  # the largest first
            self._admit(detection, now)

    def _confirm(self, track: Track, detection: Detection, now: _FrameFits) -> None:
        """The detector finds a face where the track has one: take its word, unless it is someone else's."""
        fit = now.fits.get(track.track_id)
        if fit is None or iou(fit.box, detection.box) < _SLIPPED_IOU:
            in_place = now.time - track.last_time < _IN_PLACE_S
            fit = self._fitter.fit(now.frame, pose_of_box(detection.box), track.appearance, passes=3)
            if not same_person(track, fit, self._identities, in_place=in_place):
                now.fits.pop(track.track_id, None)
                return
            track.appearance = fit.appearance
        now.fits[track.track_id] = fit
        track.confirm(now.time, detection.score)

    def _confirm_alone(self, track: Track, now: _FrameFits) -> None:
        """The detector missed the face in the frame: try its upright patch. Without that it may stay a while."""
        near = self._detect_in_patch(now.fits[track.track_id], MATCH_IOU)
        if near:
            track.confirm(now.time, near[0].score)
        elif now.time - track.confirmed_time > self._options.unconfirmed_s:
            del now.fits[track.track_id]

    def _detect_in_patch(self, fit: LandmarkFit, overlap: float) -> list[Detection]:
        """What the detector finds in a fit's upright patch about where the face should be, best first."""
        middle = (PATCH_PX - 1) / 2
        corners = transform_points(UNIT_TO_PATCH, [[0.0, 0.0], [1.0, 1.0]]).ravel().tolist()
        return [
            d
            for d in self._detector.detect(fit.patch.rgb, thorough=False)
            if iou(d.box, (corners[0], corners[1], corners[2], corners[3])) >= overlap and d.box[0] < middle
        ]

    def _admit(self, detection: Detection, now: _FrameFits) -> None:
        """A face that no track expected: one that was lost a moment ago, or a newcomer."""
        fit = self._fitter.fit(now.frame, pose_of_box(detection.box), None, passes=3)
        if any(iou(fit.box, other.box) > ONE_FACE_IOU for other in now.fits.values()):
            return
        track = self._lost_track(fit, now)
        if track is None:
            if len(now.fits) >= self._options.max_faces:
                return
            track = self._start_track(fit, detection, now)
            self._trace_back(track, fit.pose, now.earlier)
        track.confirm(now.time, detection.score)
        track.appearance = fit.appearance
        now.fits[track.track_id] = fit

    def _lost_track(self, fit: LandmarkFit, now: _FrameFits) -> Track | None:
        """The track without a fit whose face this is."""
        lost = [t for t in self.state.tracks if t.track_id not in now.fits and within_reach(t, fit, now.time)]
        return next((t for t in lost if same_person(t, fit, self._identities, in_place=False)), None)

    def _start_track(self, fit: LandmarkFit, detection: Detection, now: _FrameFits) -> Track:
        track = Track(self._next_id, self.state.shot, fit.appearance, fit.pose, now.time, now.time, detection.score)
        self._next_id += 1
        self.state.tracks.append(track)
        return track

    def _trace_back(self, track: Track, pose: Float64, earlier: Sequence[Frame]) -> None:
        """Find a newcomer in the frames before the detection that found it, as far as they are still held."""
        for frame in reversed(earlier):
            fit = self._fitter.fit(frame, pose, track.appearance)
            taken = (other.extent_at(frame.index) for other in self.state.tracks if other is not track)
            crowded = any(box is not None and iou(box, fit.box) > MATCH_IOU for box in taken)
            if crowded or fit.similarity < _MIN_SIMILARITY_BACKWARDS or not plausible(fit, pose, self._display):
                return
            track.observations.appendleft(self._observation(track, fit, frame))
            pose = fit.pose

    def _accept(self, track: Track, now: _FrameFits) -> None:
        """Take the frame's fit as the track's face, and judge whether it can be dubbed."""
        fit = now.fits[track.track_id]
        track.move_to(fit, now.time)
        new = self._observation(track, fit, now.frame)
        if new.state == FaceState.OK and self._options.quality.covered:
            covered = track.occlusion.update(lower_face(fit.patch, fit.pose), fit.head, new.time)
            new = replace(new, state=FaceState.COVERED) if covered else new
        track.state = new.state
        track.add(new, now.earlier if self._follows_on(track, now.frame) else ())
        if new.state in (FaceState.OK, FaceState.TOO_SMALL):
            merit = (1 - abs(fit.head.yaw)) * min(1.0, fit.width_px / _FULL_MERIT_PX)
            self._identities.offer(track.track_id, fit.patch.rgb, fit.in_patch, merit)

    def _follows_on(self, track: Track, frame: Frame) -> bool:
        """Whether all between the track's last observation and ``frame`` was passed over, not lost."""
        return bool(track.observations) and frame.index - track.observations[-1].index <= self._options.read_every

    def _observation(self, track: Track, fit: LandmarkFit, frame: Frame) -> Observation:
        state = usability_of(
            fit.landmarks, fit.width_px, fit.head, self._display, self._options.quality, before=track.state
        )
        return Observation(frame.index, float(frame.time), fit.landmarks, fit.pose, fit.head.yaw, track.score, state)


def _expected_box(track: Track, now: _FrameFits) -> Box:
    """Where the track's face is as far as it was fitted, else where it should be."""
    fit = now.fits.get(track.track_id)
    return fit.box if fit else box_of_pose(track.predict(now.time))
