"""The faces of the current shot: which detection is whose, who left, who came."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.core.types import FaceState, Float32, Float64, Frame, VideoInfo
from lipsync_cli.faces.detection import Box, Detection, analysis_picture, iou
from lipsync_cli.faces.detectors.protocol import FaceDetector
from lipsync_cli.faces.face_patch import PATCH_PX, UNIT_TO_PATCH, pose_of_box
from lipsync_cli.faces.identity import SAME_PERSON, Identities
from lipsync_cli.faces.options import TrackOptions
from lipsync_cli.faces.tracking.background_change import BackgroundChange
from lipsync_cli.faces.tracking.occlusion import lower_face
from lipsync_cli.faces.tracking.track import LIKE, LandmarkFit, Reader, Sighting, Track, box_of_pose, plausible
from lipsync_cli.faces.usability import hindrance

_MATCH_IOU = 0.3
# Below this overlap with its detection, landmarks have slipped and are read anew from the detection.
_SLIPPED_IOU = 0.5
_ONE_FACE_IOU = 0.55
# Likeness at which no embedding is asked: where the face was a frame ago, or elsewhere or later. Looks of two
# people correlate by 0.44 in the median, by 0.77 in one pair of a hundred.
_LIKE_THERE, _LIKE_AGAIN = 0.5, 0.75
# A face that is found where one was just lost may be turned or blurred, so the embedding is allowed a little more.
_SAME_PERSON_THERE = 0.65
_LIKE_BACKWARDS = 0.8
_JUST_S = 0.1
# The whole picture is searched at least every so many detections, whatever it shows.
_MOST_SKIPPED = 4


@dataclass(slots=True)
class SceneState:
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


class Scene:
    """Follows the faces of one shot at a time."""

    def __init__(
        self,
        info: VideoInfo,
        detector: FaceDetector,
        reader: Reader,
        identities: Identities,
        options: TrackOptions,
    ) -> None:
        self._info, self._detector, self._reader, self._identities = info, detector, reader, identities
        self._options = options
        self._display = info.display_size
        self._surroundings = BackgroundChange(info)
        self._next_id = 0
        self.state = SceneState()

    def copy_state(self) -> SceneState:
        """An independent copy of what is remembered."""
        return copy.deepcopy(self.state)

    def observe(self, frame: Frame, thumbnail: Float32, earlier: Sequence[Frame]) -> None:
        """Follow and find the faces of the shot's next frame, whose grey ``thumbnail`` shows what is new.

        ``earlier`` are the frames of the shot still held, oldest first: a newcomer is traced back through them.
        """
        state = self.state
        state.frames += 1
        state.since_detection += 1
        state.unread += 1
        if state.unread >= self._options.read_every or not self._at_ease(frame):
            self.read(frame, thumbnail, earlier)

    def _at_ease(self, frame: Frame) -> bool:
        """Whether all faces are where they should be and free, so that a frame need not be read."""
        due = frame.index - self.state.unread
        tracks = self.state.tracks
        return bool(tracks) and all(
            t.hindrance == FaceState.OK and t.sightings and t.sightings[-1].index == due for t in tracks
        )

    def read(self, frame: Frame, thumbnail: Float32, earlier: Sequence[Frame]) -> None:
        """Look for the faces of the newest frame, and lay them between their readings in those passed over."""
        state, time = self.state, float(frame.time)
        if not state.unread:
            return
        state.unread = 0
        state.tracks = [t for t in state.tracks if time - t.seen <= self._options.bridge_s]
        readings = self._follow(frame, time)
        doubtful = len(readings) < len(state.tracks)
        if state.frames == 1 or doubtful or state.since_detection >= self._options.detect_every:
            state.since_detection = 0
            if doubtful or not self._confirm_all(thumbnail, readings, time):
                state.searched, state.skipped = thumbnail, 0
                self._detect(frame, readings, earlier)
        for track in self._unrivalled(readings):
            self._accept(track, readings[track.track_id], frame, earlier)

    def _follow(self, frame: Frame, time: float) -> dict[int, LandmarkFit]:
        """Readings of the tracks that are plausibly still where they should be."""
        readings = {}
        for track in self.state.tracks:
            expected = track.predict(time)
            reading = self._reader.read(frame, expected, track.look)
            if reading.like >= LIKE and plausible(reading, expected, self._display):
                readings[track.track_id] = reading
        return readings

    def _confirm_all(self, thumbnail: Float32, readings: dict[int, LandmarkFit], time: float) -> bool:
        """Spare a search: nothing is new around the faces, and each is seen in its own patch."""
        state = self.state
        if not readings or state.searched is None or state.skipped >= _MOST_SKIPPED:
            return False
        if self._surroundings.changed(state.searched, thumbnail, [reading.box for reading in readings.values()]):
            return False
        seen = {track.track_id: self._seen_in_patch(readings[track.track_id], _SLIPPED_IOU) for track in state.tracks}
        if not all(seen.values()):
            return False
        for track in state.tracks:
            track.confirmed, track.score = time, seen[track.track_id][0].score
        state.skipped += 1
        return True

    def _detect(self, frame: Frame, readings: dict[int, LandmarkFit], earlier: Sequence[Frame]) -> None:
        """Confirm, correct, find again and find: brings ``readings`` in line with what the detector sees."""
        time = float(frame.time)
        analysis = analysis_picture(frame, self._info, self._options.detect_size)
        found = [
            Detection(analysis.display_box(d.box), d.score)
            for d in self._detector.detect(analysis.picture, thorough=not readings)
        ]
        pairs = self._match(found, readings, time)
        for track in list(self.state.tracks):
            detection = pairs.pop(track.track_id, None)
            if detection is not None:
                found.remove(detection)
                self._confirm(track, detection, frame, readings)
            elif track.track_id in readings:
                self._confirm_alone(track, readings, time)
        largest_first = sorted(found, key=lambda d: (d.box[0] - d.box[2], d.box))
        for detection in largest_first:
            self._welcome(detection, frame, readings, earlier)

    def _match(
        self, found: Sequence[Detection], readings: dict[int, LandmarkFit], time: float
    ) -> dict[int, Detection]:
        """Pairs of track id and detection, best overlap first."""
        overlaps = [
            (iou(self._expected(track, readings, time), detection.box), track.track_id, index)
            for track in self.state.tracks
            for index, detection in enumerate(found)
        ]
        pairs: dict[int, int] = {}
        for overlap, track_id, index in sorted(overlaps, key=lambda o: (-o[0], o[1], o[2])):
            if overlap >= _MATCH_IOU and track_id not in pairs and index not in pairs.values():
                pairs[track_id] = index
        return {track_id: found[index] for track_id, index in pairs.items()}

    def _expected(self, track: Track, readings: dict[int, LandmarkFit], time: float) -> Box:
        reading = readings.get(track.track_id)
        return reading.box if reading else box_of_pose(track.predict(time))

    def _confirm(self, track: Track, detection: Detection, frame: Frame, readings: dict[int, LandmarkFit]) -> None:
        """The detector sees a face where the track has one: take its word, unless it is someone else's."""
        reading = readings.get(track.track_id)
        if reading is None or iou(reading.box, detection.box) < _SLIPPED_IOU:
            there = float(frame.time) - track.seen < _JUST_S
            reading = self._reader.read(frame, pose_of_box(detection.box), track.look, looks=3)
            if not self._same(track, reading, there=there):
                readings.pop(track.track_id, None)
                return
            track.look = reading.look
        readings[track.track_id] = reading
        track.confirmed, track.score = float(frame.time), detection.score

    def _confirm_alone(self, track: Track, readings: dict[int, LandmarkFit], time: float) -> None:
        """The detector missed the face in the frame; look at its upright patch. Without that it may stay a while."""
        near = self._seen_in_patch(readings[track.track_id], _MATCH_IOU)
        if near:
            track.confirmed, track.score = time, near[0].score
        elif time - track.confirmed > self._options.unconfirmed_s:
            del readings[track.track_id]

    def _seen_in_patch(self, reading: LandmarkFit, overlap: float) -> list[Detection]:
        """What the detector finds in a reading's upright patch about where the face should be, best first."""
        side = (PATCH_PX - 1) / 2
        corners = transform_points(UNIT_TO_PATCH, [[0.0, 0.0], [1.0, 1.0]]).ravel().tolist()
        return [
            d
            for d in self._detector.detect(reading.patch.rgb, thorough=False)
            if iou(d.box, (corners[0], corners[1], corners[2], corners[3])) >= overlap and d.box[0] < side
        ]

    def _welcome(
        self, detection: Detection, frame: Frame, readings: dict[int, LandmarkFit], earlier: Sequence[Frame]
    ) -> None:
        """A face nobody expected: one that was lost a moment ago, or a newcomer."""
        time = float(frame.time)
        reading = self._reader.read(frame, pose_of_box(detection.box), None, looks=3)
        if any(iou(reading.box, other.box) > _ONE_FACE_IOU for other in readings.values()):
            return
        lost = [t for t in self.state.tracks if t.track_id not in readings and _within_reach(t, reading, time)]
        track = next((t for t in lost if self._same(t, reading, there=False)), None)
        if track is None:
            if len(readings) >= self._options.max_faces:
                return
            track = self._newcomer(reading, detection, time)
            self._trace_back(track, reading.pose, earlier)
        track.confirmed, track.score = time, detection.score
        track.look = reading.look
        readings[track.track_id] = reading

    def _newcomer(self, reading: LandmarkFit, detection: Detection, time: float) -> Track:
        track = Track(self._next_id, self.state.shot, reading.look, reading.pose, time, time, detection.score)
        self._next_id += 1
        self.state.tracks.append(track)
        return track

    def _trace_back(self, track: Track, pose: Float64, earlier: Sequence[Frame]) -> None:
        """Find a newcomer in the frames before the detection that found it, as far as they are still held."""
        for frame in reversed(earlier):
            reading = self._reader.read(frame, pose, track.look)
            taken = (self._at(other, frame.index) for other in self.state.tracks if other is not track)
            crowded = any(box is not None and iou(box, reading.box) > _MATCH_IOU for box in taken)
            if crowded or reading.like < _LIKE_BACKWARDS or not plausible(reading, pose, self._display):
                return
            track.sightings.appendleft(self._sighting(track, reading, frame))
            pose = reading.pose

    @staticmethod
    def _at(track: Track, index: int) -> Box | None:
        """A rough box of where the track was in frame ``index``, if it was seen there."""
        for seen in track.sightings:
            if seen.index == index:
                low, high = seen.landmarks.min(0).tolist(), seen.landmarks.max(0).tolist()
                return (low[0], low[1], high[0], high[1])
        return None

    def _same(self, track: Track, reading: LandmarkFit, *, there: bool) -> bool:
        """Whether a reading shows the track's person, by likeness, else by the embedding; ``there``: in its place."""
        if float((track.look * reading.look).sum()) >= (_LIKE_THERE if there else _LIKE_AGAIN):
            return True
        if track.track_id not in self._identities:
            return False
        apart = self._identities.distance(track.track_id, self._embedding(reading))
        return apart < (_SAME_PERSON_THERE if there else SAME_PERSON)

    def _embedding(self, reading: LandmarkFit) -> Float64:
        return self._identities.embed(reading.patch.rgb, reading.in_patch)

    def _unrivalled(self, readings: dict[int, LandmarkFit]) -> Iterable[Track]:
        """Tracks with a reading, without those that slid onto an older track's face."""
        kept: list[Track] = []
        for track in self.state.tracks:
            reading = readings.get(track.track_id)
            if reading is None:
                continue
            if all(iou(reading.box, readings[t.track_id].box) <= _ONE_FACE_IOU for t in kept):
                kept.append(track)
        return kept

    def _accept(self, track: Track, reading: LandmarkFit, frame: Frame, earlier: Sequence[Frame]) -> None:
        track.accept(reading, float(frame.time))
        sighting = self._sighting(track, reading, frame)
        if sighting.hindrance == FaceState.OK and self._options.quality.covered:
            covered = track.mouth.covered(lower_face(reading.patch, reading.pose), reading.head, sighting.time)
            sighting = replace(sighting, hindrance=FaceState.COVERED) if covered else sighting
        track.hindrance = sighting.hindrance
        if track.sightings and frame.index - track.sightings[-1].index <= self._options.read_every:
            before = track.sightings[-1]
            track.sightings.extend(before.towards(sighting, f) for f in earlier if f.index > before.index)
        track.sightings.append(sighting)
        if sighting.hindrance in (FaceState.OK, FaceState.TOO_SMALL):
            merit = (1 - abs(reading.head.yaw)) * min(1.0, reading.width_px / 100)
            self._identities.offer(track.track_id, reading.patch.rgb, reading.in_patch, merit)

    def _sighting(self, track: Track, reading: LandmarkFit, frame: Frame) -> Sighting:
        state = hindrance(
            reading.landmarks,
            reading.width_px,
            reading.head,
            self._display,
            self._options.quality,
            before=track.hindrance,
        )
        return Sighting(
            frame.index, float(frame.time), reading.landmarks, reading.pose, reading.head.yaw, track.score, state
        )


def _within_reach(track: Track, reading: LandmarkFit, time: float) -> bool:
    """Whether a lost face can have come to where a reading is: near, and of about its size."""
    last, now = box_of_pose(track.pose), reading.box
    width = last[2] - last[0]
    apart = float(np.hypot(now[0] + now[2] - last[0] - last[2], now[1] + now[3] - last[1] - last[3])) / 2
    growth = (now[2] - now[0]) / max(width, 1e-6)
    return apart < width * (1 + 2 * (time - track.seen)) and 0.6 < growth < 1.7
