"""One talking clip → its usable stretches, tracked and cropped exactly as ``dub`` does, measured and written.

A stretch is an unbroken run of frames on a 25 Hz grid in which the tracker says the same face can be dubbed. Nothing
is judged here beyond that: the figures are written down, and what is good enough is decided over all clips at once.
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

from lipsync_cli.audio.mel import SAMPLE_RATE
from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.errors import LipsyncError
from lipsync_cli.core.geometry import affine_scale, invert_affine, transform_points
from lipsync_cli.core.types import Alignment, Crop, Face, FaceState, TrackedFrame, VideoInfo
from lipsync_cli.evaluation.clip_reader import on_grid, sound_origin
from lipsync_cli.evaluation.measures.sync_mini import ExpertMeter, load_expert, score_runs
from lipsync_cli.faces.alignment import LOWER_FACE
from lipsync_cli.faces.crop import cut_crop
from lipsync_cli.faces.detection import create_detector
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
    """One written clip and its figures, see ``Prepared``; hashes in hexadecimal.

    ``jump`` and ``frozen`` are ``looks.Damage``; ``level_db`` the sound's level, dB below full scale.
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
class Cut:
    """What became of a source: ``stretches``, or a ``note`` why there are none.

    ``unusable`` counts frames by what hindered them; ``too_short`` those in runs below the least length. ``curve``
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
class _Look:
    crop: Crop
    face: Face
    shot: int
    time: Fraction


def cut_source(data: Path, out: Path, source: Source, *, crop_size: int, identify: bool) -> Cut:
    """Track, crop, measure and write one source; a source that cannot be read gives a note.

    ``identify`` asks for the face embedding, for folders in which nobody says who speaks.
    """
    try:
        return _Cutter(data / source.path, out, source, crop_size).cut(identify)
    except LipsyncError as error:
        return Cut(source.path, note=error.message)
    except Exception as error:  # one odd file among thousands must not end hours of work; it is named in the report
        return Cut(source.path, note=f"{type(error).__name__}: {error}")


class _Cutter:
    def __init__(self, path: Path, out: Path, source: Source, crop_size: int) -> None:
        self._path, self._out, self._source, self._size = path, out, source, crop_size
        self._info = probe(path)
        self._video = require_video(self._info)
        require_audio(self._info)
        self._looks: list[_Look] = []
        self._unusable: Counter[str] = Counter()
        self._too_short = self._count = 0
        self._start = Fraction(0)
        self._tracks: Counter[int] = Counter()

    def cut(self, identify: bool) -> Cut:
        expert = _expert()
        meter = ExpertMeter(expert)
        stretches: list[Stretch] = []
        settings = DubSettings()
        tracker = Tracker(self._video, create_detector(settings.detector), track_options(settings))
        with open_frames(self._info) as frames, open_speech(self._path) as spans:
            speech = SpeechTrack(iter(spans))
            for look in self._on_grid(tracker, frames):
                meter.add(None if look is None else look.crop.rgb)
                stretches += self._take(look, speech)
            stretches += self._finish(speech)
            damaged = any("damaged" in warning or "too early" in warning for warning in frames.warnings)
        score = score_runs(expert, meter.finish(), self._path, self._start)
        face = None
        if identify and self._tracks:
            main = self._tracks.most_common(1)[0][0]
            face = [round(v, 4) for v in tracker.identities[main].tolist()] if main in tracker.identities else None
        curve = None if score is None else [None if np.isnan(v) else round(v, 5) for v in score.curve]
        return Cut(
            self._source.path, self._count, stretches, dict(self._unusable), self._too_short, damaged,
            0 if score is None else score.windows, curve, face,
        )  # fmt: skip

    def _on_grid(self, tracker: Tracker, frames: Iterator[Any]) -> Iterator[_Look | None]:
        origin = sound_origin(self._path)
        chosen = select(tracker.run(frames), parse_face_choice("largest"), tracker)
        for item in on_grid((item.frame.file_time - origin, item) for item in chosen):
            if self._count == 0:
                self._start = item.frame.file_time - origin
            self._count += 1
            yield self._look(item, item.frame.file_time - origin)

    def _look(self, item: TrackedFrame, time: Fraction) -> _Look | None:
        face = next((face for face in item.faces if face.state is FaceState.OK), None)
        if face is None:
            states = [str(face.state) for face in item.faces if face.state is not FaceState.NOT_CHOSEN]
            self._unusable[states[0] if states else str(FaceState.MISSING)] += 1
            return None
        self._tracks[face.track_id] += 1
        return _Look(_crop(item, face, self._video, self._size), face, item.shot, time)

    def _take(self, look: _Look | None, speech: SpeechTrack) -> list[Stretch]:
        """Add the frame at the end of the grid so far; what it completes."""
        done: list[Stretch] = []
        before = self._looks[-1] if self._looks else None
        goes_on = look is not None and before is not None and _same(before, look)
        if self._looks and (not goes_on or len(self._looks) == LONGEST):
            done = self._write(self._count - 1 - len(self._looks), speech)
        if look is not None:
            self._looks.append(look)
        return done

    def _finish(self, speech: SpeechTrack) -> list[Stretch]:
        return self._write(self._count - len(self._looks), speech) if self._looks else []

    def _write(self, first: int, speech: SpeechTrack) -> list[Stretch]:
        looks, self._looks = self._looks, []
        if len(looks) < MIN_FRAMES:
            self._too_short += len(looks)
            return []
        name = f"{self._source.name}-{first:06d}"
        video, arrays = video_path(self._out, name), arrays_path(self._out, name)
        crops = np.stack([look.crop.rgb for look in looks])
        start = self._start + Fraction(first, LATENT_RATE)
        samples = _samples(speech, round(start * SAMPLE_RATE), len(looks))
        write_crops(video, crops, self._size)
        write_arrays(arrays, _arrays(looks, samples, self._video))
        sound = clip_samples(samples, len(looks), 0)
        scale = float(np.median([1 / affine_scale(look.crop.alignment.matrix) for look in looks]))
        poses = [head_pose(look.face.landmarks) for look in looks]
        harm = damage(crops)
        return [
            Stretch(
                name, first, round(float(start), 3), len(looks), round(scale, 3),
                face_px=round(float(np.median([look.face.width_px for look in looks])), 1),
                yaw=round(float(np.percentile([abs(pose.yaw) for pose in poses], 90)), 3),
                pitch=round(float(np.percentile([abs(pose.pitch) for pose in poses], 90)), 3),
                blur=round(sharpness(crops, scale), 1),
                jump=round(harm.jump, 3), frozen=round(harm.frozen, 3),
                level_db=round(float(10 * np.log10(np.mean(np.square(sound)) + 1e-12)), 1),
                picture=picture_hash(crops).tobytes().hex(),
                sound=sound_hash(mel_rows(sound, len(looks))[MEL_MARGIN:-MEL_MARGIN]).tobytes().hex(),
                bytes=video.stat().st_size + arrays.stat().st_size, sha256=content_hash(video, arrays),
            )
        ]  # fmt: skip


def _same(before: _Look, after: _Look) -> bool:
    return before.face.track_id == after.face.track_id and before.shot == after.shot


def _crop(item: TrackedFrame, face: Face, video: VideoInfo, size: int) -> Crop:
    return cut_crop(item.frame, face, video, LOWER_FACE, size)


def _samples(speech: SpeechTrack, first: int, frames: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Sound around ``frames`` frames from sample ``first`` on, zero where the source has none."""
    start, stop = first - SOUND_MARGIN, first + frames * SAMPLES_PER_FRAME + SOUND_MARGIN
    begin, known = speech.samples(start, stop)
    samples = np.zeros(stop - start, np.float32)
    samples[begin - start : begin - start + len(known)] = known
    return np.round(samples * 32768).clip(-32768, 32767).astype(np.int16)


def _arrays(looks: list[_Look], samples: np.ndarray[Any, np.dtype[np.int16]], video: VideoInfo) -> ClipArrays:
    alignments = [look.crop.alignment for look in looks]
    return ClipArrays(
        np.stack([look.crop.landmarks for look in looks]).astype(np.float32),
        samples,
        np.stack([alignment.matrix for alignment in alignments]).astype(np.float32),
        np.array([float(look.time) for look in looks], np.float32),
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
