"""A clip read for measuring: every frame with the chosen face, found by the same tracker that dubs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar, cast

from lipsync_cli.core.concurrency import in_background
from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.core.geometry import warp_to_crop
from lipsync_cli.core.landmarks68 import mouth_aperture
from lipsync_cli.core.types import Crop, Face, FaceState, Float64, MediaInfo, TrackedFrame, UInt8, VideoInfo
from lipsync_cli.faces.crop import cut_crop
from lipsync_cli.faces.detection import pixels
from lipsync_cli.faces.detectors.registry import create_reader
from lipsync_cli.faces.options import QualityOptions, TrackOptions
from lipsync_cli.faces.selection import parse_face_choice, select
from lipsync_cli.faces.tracking.tracker import Tracker
from lipsync_cli.media.probe import opened, probe, require_video, second_zero
from lipsync_cli.media.video import open_frames

CROP_SIZE = 192
GRID_RATE = 25
_DECODED_AHEAD = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MeasuredFrame:
    """One frame: ``time`` in seconds of the file's sound, RGB as stored, and the chosen face if usable."""

    index: int
    time: Fraction
    rgb: UInt8
    face: Face | None
    crop: Crop | None

    @property
    def aperture(self) -> float:
        """Mouth opening over the inter-ocular distance; NaN without a face."""
        return float("nan") if self.face is None else mouth_aperture(self.face.landmarks)


@dataclass(frozen=True, slots=True)
class ClipReader:
    """What a clip is, and its frames in order; holds the tracker's look-ahead."""

    info: MediaInfo
    video: VideoInfo
    frames: Iterator[MeasuredFrame]

    @property
    def to_display(self) -> Float64:
        """Affine ``[2 3]`` map from storage to display pixels."""
        return self.video.to_display


@contextmanager
def read_clip(path: Path, *, face: str = "largest", detector: str = "dlib") -> Iterator[ClipReader]:
    """Open a clip; raises InputError for what is no readable video."""
    info = probe(path)
    video = require_video(info)
    origin = sound_origin(path)
    options = TrackOptions(quality=QualityOptions(covered=False, max_yaw=0.8))
    with open_frames(info) as source, in_background(source, _DECODED_AHEAD, name="decode") as decoded:
        tracker = Tracker(video, create_reader(detector), options)
        chosen = select(tracker.run(decoded), parse_face_choice(face), tracker)
        yield ClipReader(info, video, _measured(chosen, video, origin))


def sound_origin(path: Path) -> Fraction:
    """The time stamp, in seconds, at which the file's sound begins to be played."""
    with opened(path) as container:
        return second_zero(container)


def first_frame_time(path: Path) -> Fraction:
    """Seconds of a video's sound that are heard before its first frame."""
    return require_video(probe(path)).start - sound_origin(path)


def _measured(tracked: Iterator[TrackedFrame], video: VideoInfo, origin: Fraction) -> Iterator[MeasuredFrame]:
    for item in tracked:
        face = next((face for face in item.faces if face.state is FaceState.OK), None)
        crop = None if face is None else cut_crop(item.frame, face, video, LOWER_FACE, CROP_SIZE)
        yield MeasuredFrame(item.frame.index, item.frame.file_time - origin, pixels(item.frame), face, crop)


def recut(rgb: UInt8, crop: Crop) -> UInt8:
    """The part of another frame ``[h w 3]`` where ``crop`` lies, as large."""
    return cast(UInt8, warp_to_crop(rgb, crop.alignment.matrix, crop.alignment.size))


def on_grid(timed: Iterator[tuple[Fraction, T]], rate: int = GRID_RATE) -> Iterator[T]:
    """What is on screen at the first time and every 1/``rate`` s after it, up to the last; holds one item."""
    step = Fraction(1, rate)
    due: Fraction | None = None
    shown: T
    for time, item in timed:
        if due is None:
            due, shown = time, item
        while due < time:
            yield shown
            due += step
        shown, last = item, time
    if due is not None and due <= last:
        yield shown


def count_frames(path: Path) -> int:
    """Frames of a video, counted by decoding them."""
    with open_frames(probe(path), with_rgb=False) as source:
        return sum(1 for _ in source)
