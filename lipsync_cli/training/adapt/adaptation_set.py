"""The adaptation set: usable crops of one video, as ``dub`` would cut them, and which may be whose reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lipsync_cli.core.concurrency import in_background
from lipsync_cli.core.crop_templates import CropTemplate, crop_template
from lipsync_cli.core.errors import InputError, NoFaceError
from lipsync_cli.core.types import Face, FaceState, Float32, Float64, Frame, UInt8, VideoInfo
from lipsync_cli.faces.crop import cut_crop
from lipsync_cli.faces.detectors.registry import create_reader
from lipsync_cli.faces.options import track_options
from lipsync_cli.faces.selection import parse_face_choice, select
from lipsync_cli.faces.tracking.tracker import Tracker
from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.media.video import open_frames
from lipsync_cli.settings import DubSettings

Indices = npt.NDArray[np.int64]
OnFrame = Callable[[int, int | None], None]

# Frames are kept in runs of one second, because dub chooses its references among those of one second.
RUN = 25
MAX_FRAMES, MIN_FRAMES = 400, 40
DECODED_AHEAD = 4
# A reference nearer than this could show the target's own lips.
REFERENCE_GAP_S = 0.5
HELD_PERIOD, HELD_SHARE = 100, 0.15
# Frames beside a held-out block are too much like it and are used for nothing.
GUARD = 5


@dataclass(frozen=True, slots=True)
class AdaptationFrame:
    """One crop: RGB uint8 ``[s s 3]``, landmarks ``[68 2]`` in its pixels, seconds, and the number of its track."""

    rgb: UInt8
    landmarks: Float64
    time: float
    track: int


@dataclass(frozen=True, slots=True)
class AdaptationSet:
    """n crops in the order of time: ``crops`` uint8 ``[n s s 3]``, ``landmarks`` ``[n 68 2]`` in crop pixels,
    ``times`` ``[n]`` in seconds, and ``tracks`` ``[n]``, one number for each face in each shot.

    ``usable`` counts all usable frames of the video, held here or not.
    """

    crops: UInt8
    landmarks: Float32
    times: Float64
    tracks: Indices
    usable: int

    @classmethod
    def of(cls, frames: list[AdaptationFrame], usable: int) -> AdaptationSet:
        """``frames``, of which there is at least one, stacked."""
        return cls(
            np.stack([frame.rgb for frame in frames]),
            np.stack([frame.landmarks for frame in frames]).astype(np.float32),
            np.array([frame.time for frame in frames]),
            np.array([frame.track for frame in frames]),
            usable,
        )

    def __len__(self) -> int:
        return len(self.times)

    def partners(self, index: int, pool: Indices) -> Indices:
        """Those of ``pool`` that may be references of frame ``index``: same face and shot, another moment."""
        apart = np.abs(self.times[pool] - self.times[index]) >= REFERENCE_GAP_S
        return np.asarray(pool[apart & (self.tracks[pool] == self.tracks[index])])


class SpacedRuns:
    """At most ``limit`` frames of a stream of unknown length, in runs of consecutive ones that lie evenly apart."""

    def __init__(self, limit: int, run: int = RUN) -> None:
        if limit < 2 * run:
            raise ValueError(f"a set of runs of {run} holds {2 * run} at least, got a limit of {limit}")
        self.offered = 0
        self._limit, self._run, self._stride = limit, run, 1
        self._held: list[tuple[int, AdaptationFrame]] = []

    def add(self, make: Callable[[], AdaptationFrame]) -> None:
        """Offer the next frame, which is made only if it is held."""
        run, self.offered = self.offered // self._run, self.offered + 1
        if len(self._held) == self._limit and run % self._stride == 0:
            self._stride *= 2
            self._held = [entry for entry in self._held if entry[0] % self._stride == 0]
        if run % self._stride == 0:
            self._held.append((run, make()))

    def items(self) -> list[AdaptationFrame]:
        """The frames that are held, in order."""
        return [item for _, item in self._held]


def collect(
    path: Path,
    settings: DubSettings,
    *,
    template: CropTemplate | str,
    size: int,
    device: str = "cpu",
    start: Fraction | None = None,
    end: Fraction | None = None,
    limit: int = MAX_FRAMES,
    on_frame: OnFrame = lambda done, total: None,
) -> AdaptationSet:
    """Read a video once and keep at most ``limit`` crops of the frames that ``dub`` would dub.

    Raises NoFaceError when there are none, InputError for a still picture or fewer than ``MIN_FRAMES``, and what
    opening and tracking raise.
    """
    info = probe(path)
    stream = require_video(info)
    if stream.is_still:
        raise InputError(f"{path.name} is a still picture.", hint="There is nothing to learn from; dub it as it is.")
    runs = SpacedRuns(limit)
    with (
        open_frames(info, start=start, end=end) as source,
        in_background(source, DECODED_AHEAD, name="decode") as frames,
    ):
        reader = create_reader(settings.detector, device=device, samples=settings.landmark_samples)
        tracker = Tracker(stream, reader, track_options(settings))
        tracked = tracker.run(_counted(iter(frames), stream.frames if start is end is None else None, on_frame))
        for item in select(tracked, parse_face_choice(settings.face), tracker):
            for face in item.faces:
                if face.state is FaceState.OK:
                    runs.add(partial(_cut, item.frame, face, stream, template, size))
    _require_enough(path, runs.offered)
    return AdaptationSet.of(runs.items(), runs.offered)


def _cut(frame: Frame, face: Face, stream: VideoInfo, template: CropTemplate | str, size: int) -> AdaptationFrame:
    crop = cut_crop(frame, face, stream, crop_template(template), size)
    return AdaptationFrame(crop.rgb, crop.landmarks, float(frame.time), face.track_id)


def _counted(frames: Iterator[Frame], total: int | None, on_frame: OnFrame) -> Iterator[Frame]:
    for done, frame in enumerate(frames, 1):
        on_frame(done, total)
        yield frame


def _require_enough(path: Path, usable: int) -> None:
    if not usable:
        raise NoFaceError(
            f"No frame of {path.name} shows a face to learn from.",
            hint="Check --face, or choose another part with --start and --end.",
        )
    if usable < MIN_FRAMES:
        raise InputError(
            f"{path.name} shows the face in only {usable} usable frames; {MIN_FRAMES} are the least to learn from.",
            hint="Choose a longer part with --start and --end, or dub without an adapter.",
        )


def split(count: int) -> tuple[Indices, Indices]:
    """Frames to train on and frames held out, of ``count``: the middle 15 % of every hundred, and a gap around them.

    Not the end, where people have often finished speaking.
    """
    edges = np.linspace(0, count, max(1, round(count / HELD_PERIOD)) + 1).round().astype(int)
    held, guarded = np.zeros(count, bool), np.zeros(count, bool)
    for low, high in pairwise(edges):
        length = max(1, round(HELD_SHARE * (high - low)))
        first = (low + high - length) // 2
        held[first : first + length] = True
        guarded[max(0, first - GUARD) : first + length + GUARD] = True
    return np.flatnonzero(~guarded), np.flatnonzero(held)


def with_partners(frames: AdaptationSet, indices: Indices, pool: Indices, least: int) -> Indices:
    """Those of ``indices`` for which ``pool`` has at least ``least`` references."""
    return np.array([i for i in indices if len(frames.partners(int(i), pool)) >= least], int)
