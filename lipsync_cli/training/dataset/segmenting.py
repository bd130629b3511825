"""One talking clip → its usable stretches, tracked and cropped exactly as ``dub`` does, measured and written.

A stretch is an unbroken run of frames on a 25 Hz grid in which the tracker finds the same face dubbable. Nothing is
filtered here beyond that: the figures are written down, and ``filtering`` decides over all clips at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.core.errors import LipsyncError
from lipsync_cli.core.geometry import affine_scale, invert_affine, transform_points
from lipsync_cli.core.types import SPEECH_RATE, Alignment, Crop, Face, FaceState, TrackedFrame, VideoInfo
from lipsync_cli.evaluation.clip_reader import on_grid, sound_origin
from lipsync_cli.evaluation.measures.sync_mini import ExpertMeter, load_expert, score_runs
from lipsync_cli.faces.crop import cut_crop
from lipsync_cli.faces.detectors.registry import create_reader
from lipsync_cli.faces.head_pose import head_pose
from lipsync_cli.faces.options import track_options
from lipsync_cli.faces.selection import parse_face_choice, select
from lipsync_cli.faces.tracking.tracker import Tracker
from lipsync_cli.media.audio import open_speech
from lipsync_cli.media.crop_video import write_crops
from lipsync_cli.media.probe import probe, require_audio, require_video
from lipsync_cli.media.video import open_frames
from lipsync_cli.settings import DubSettings
from lipsync_cli.training.dataset.format import (
    LATENT_RATE,
    MEL_MARGIN,
    MIN_FRAMES,
    SAMPLES_PER_FRAME,
    SOUND_MARGIN,
    ClipArrays,
    arrays_path,
    clip_samples,
    content_hash,
    mel_rows,
    video_path,
    write_arrays,
)
from lipsync_cli.training.dataset.quality import damage, picture_hash, sharpness, sound_hash
from lipsync_cli.training.dataset.sources import Source

# Longer stretches are cut in parts, so that memory has a bound and clips are alike.
LONGEST = 250


@dataclass(frozen=True, slots=True)
class Stretch:
    """One written clip and its figures, see ``ClipRecord``; hashes in hexadecimal.

    ``jump`` and ``frozen`` are those of ``quality.Damage``; ``level_db`` the sound's level, dB below full scale.
    """

    name: str
    first: int
    first_s: float
    frames: int
    source_scale: float
    face_px: float
    yaw: float
    pitch: float
    blur: float
    jump: float
    frozen: float
    level_db: float
    picture: str
    sound: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SegmentedSource:
    """The ``stretches`` of a source, or a ``note`` why there are none.

    ``unusable`` counts frames by the reason; ``too_short`` those in runs below the least length. ``curve``
    is the sync expert's distance at AV offsets 15 … −15 over ``windows`` windows, None where nothing overlapped.
    ``face`` is the speaker's embedding where it was asked for.
    """

    path: str
    frames: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    unusable: dict[str, int] = field(default_factory=dict)
    too_short: int = 0
    damaged: bool = False
    windows: int = 0
    curve: list[float | None] | None = None
    face: list[float] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class _TrackedCrop:
    crop: Crop
    face: Face
    shot: int
    time: Fraction


def segment_source(data: Path, out: Path, source: Source, *, crop_size: int, identify: bool) -> SegmentedSource:
    """Track, crop, measure and write one source; a source that cannot be read gives a note.

    ``identify`` asks for the face embedding, for folders without names of speakers.
    """
    try:
        return _Segmenter(data / source.path, out, source, crop_size).run(identify)
    except LipsyncError as error:
        return SegmentedSource(source.path, note=error.message)
    except Exception as error:  # one odd file among thousands must not end hours of work; it is named in the report
        return SegmentedSource(source.path, note=f"{type(error).__name__}: {error}")


class _Segmenter:
    """The stretch in the making and the counts of one source; ``run`` reads it once."""

    def __init__(self, path: Path, out: Path, source: Source, crop_size: int) -> None:
        self._path, self._out, self._source, self._size = path, out, source, crop_size
        self._info = probe(path)
        self._video = require_video(self._info)
        require_audio(self._info)
        self._open: list[_TrackedCrop] = []
        self._unusable: Counter[str] = Counter()
        self._too_short = self._count = 0
        self._start = Fraction(0)
        self._tracks: Counter[int] = Counter()

    def run(self, identify: bool) -> SegmentedSource:
        expert = _expert()
        meter = ExpertMeter(expert)
        stretches: list[Stretch] = []
        settings = DubSettings()
        reader = create_reader(settings.detector, samples=settings.landmark_samples)
        tracker = Tracker(self._video, reader, track_options(settings))
        with open_frames(self._info) as frames, open_speech(self._path) as spans:
            speech = SpeechTrack(iter(spans))
            for crop in self._on_grid(tracker, frames):
                meter.add(None if crop is None else crop.crop.rgb)
                stretches += self._add(crop, speech)
            stretches += self._finish(speech)
            damaged = any("damaged" in warning or "too early" in warning for warning in frames.warnings)
        score = score_runs(expert, meter.finish(), self._path, self._start)
        face = None
        if identify and self._tracks:
            main = self._tracks.most_common(1)[0][0]
            face = [round(v, 4) for v in tracker.identities[main].tolist()] if main in tracker.identities else None
        curve = None if score is None else [None if np.isnan(v) else round(v, 5) for v in score.curve]
        return SegmentedSource(
            self._source.path, self._count, stretches, dict(self._unusable), self._too_short, damaged,
            0 if score is None else score.windows, curve, face,
        )  # fmt: skip

    def _on_grid(self, tracker: Tracker, frames: Iterator[Any]) -> Iterator[_TrackedCrop | None]:
        origin = sound_origin(self._path)
        chosen = select(tracker.run(frames), parse_face_choice("largest"), tracker)
        for item in on_grid((item.frame.file_time - origin, item) for item in chosen):
            if self._count == 0:
                self._start = item.frame.file_time - origin
            self._count += 1
            yield self._tracked_crop(item, item.frame.file_time - origin)

    def _tracked_crop(self, item: TrackedFrame, time: Fraction) -> _TrackedCrop | None:
        face = next((face for face in item.faces if face.state is FaceState.OK), None)
        if face is None:
            states = [str(face.state) for face in item.faces if face.state is not FaceState.NOT_CHOSEN]
            self._unusable[states[0] if states else str(FaceState.MISSING)] += 1
            return None
        self._tracks[face.track_id] += 1
        return _TrackedCrop(_crop(item, face, self._video, self._size), face, item.shot, time)

    def _add(self, crop: _TrackedCrop | None, speech: SpeechTrack) -> list[Stretch]:
        """Add the frame at the end of the grid so far; returns the stretch that it ends, if it ends one."""
        done: list[Stretch] = []
        before = self._open[-1] if self._open else None
        goes_on = crop is not None and before is not None and _same_track(before, crop)
        if self._open and (not goes_on or len(self._open) == LONGEST):
            done = self._write(self._count - 1 - len(self._open), speech)
        if crop is not None:
            self._open.append(crop)
        return done

    def _finish(self, speech: SpeechTrack) -> list[Stretch]:
        return self._write(self._count - len(self._open), speech) if self._open else []

    def _write(self, first: int, speech: SpeechTrack) -> list[Stretch]:
        tracked, self._open = self._open, []
        if len(tracked) < MIN_FRAMES:
            self._too_short += len(tracked)
            return []
        name = f"{self._source.name}-{first:06d}"
        video, arrays = video_path(self._out, name), arrays_path(self._out, name)
        crops = np.stack([item.crop.rgb for item in tracked])
        start = self._start + Fraction(first, LATENT_RATE)
        samples = _samples(speech, round(start * SPEECH_RATE), len(tracked))
        write_crops(video, crops, self._size)
        write_arrays(arrays, _arrays(tracked, samples, self._video))
        sound = clip_samples(samples, len(tracked), 0)
        scale = float(np.median([1 / affine_scale(item.crop.alignment.matrix) for item in tracked]))
        poses = [head_pose(item.face.landmarks) for item in tracked]
        found = damage(crops)
        return [
            Stretch(
                name, first, round(float(start), 3), len(tracked), round(scale, 3),
                face_px=round(float(np.median([item.face.width_px for item in tracked])), 1),
                yaw=round(float(np.percentile([abs(pose.yaw) for pose in poses], 90)), 3),
                pitch=round(float(np.percentile([abs(pose.pitch) for pose in poses], 90)), 3),
                blur=round(sharpness(crops, scale), 1),
                jump=round(found.jump, 3), frozen=round(found.frozen, 3),
                level_db=round(float(10 * np.log10(np.mean(np.square(sound)) + 1e-12)), 1),
                picture=picture_hash(crops).tobytes().hex(),
                sound=sound_hash(mel_rows(sound, len(tracked))[MEL_MARGIN:-MEL_MARGIN]).tobytes().hex(),
                bytes=video.stat().st_size + arrays.stat().st_size, sha256=content_hash(video, arrays),
            )
        ]  # fmt: skip


def _same_track(before: _TrackedCrop, after: _TrackedCrop) -> bool:
    return before.face.track_id == after.face.track_id and before.shot == after.shot


def _crop(item: TrackedFrame, face: Face, video: VideoInfo, size: int) -> Crop:
    return cut_crop(item.frame, face, video, LOWER_FACE, size)


def _samples(speech: SpeechTrack, first: int, frames: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Sound around ``frames`` frames from sample ``first`` on, 0 beyond the source's ends."""
    start, stop = first - SOUND_MARGIN, first + frames * SAMPLES_PER_FRAME + SOUND_MARGIN
    begin, held = speech.samples(start, stop)
    samples = np.zeros(stop - start, np.float32)
    samples[begin - start : begin - start + len(held)] = held
    return np.round(samples * 32768).clip(-32768, 32767).astype(np.int16)


def _arrays(
    tracked: list[_TrackedCrop], samples: np.ndarray[Any, np.dtype[np.int16]], video: VideoInfo
) -> ClipArrays:
    alignments = [item.crop.alignment for item in tracked]
    return ClipArrays(
        np.stack([item.crop.landmarks for item in tracked]).astype(np.float32),
        samples,
        np.stack([alignment.matrix for alignment in alignments]).astype(np.float32),
        np.array([float(item.time) for item in tracked], np.float32),
        np.array([rows_in_picture(alignment, video.width, video.height) for alignment in alignments], np.int16),
    )


def rows_in_picture(alignment: Alignment, width: int, height: int) -> int:
    """How many of a crop's rows, from the top, end in the picture at the crop's middle column."""
    size = alignment.size
    middle = np.column_stack([np.full(size, (size - 1) / 2), np.arange(size)])
    x, y = transform_points(invert_affine(alignment.matrix), middle).T
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return int(np.flatnonzero(inside)[-1]) + 1 if inside.any() else 0


@cache
def _expert() -> Any:
    """The shipped sync expert, once a process, which has a core of its own."""
    import torch

    torch.set_num_threads(1)
    return load_expert()
