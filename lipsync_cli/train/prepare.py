"""Talking clips → aligned lower-face crops, landmarks and log-mel rows on a 25 Hz grid, two files per clip.

Reads a ``clips.csv`` (path, split, speaker, licence, duration_s, sync_lag_frames) and writes ``NNNNN.crops.npy``
(uint8 ``[n 192 192 3]``, memory-mapped by training), ``NNNNN.npz`` and ``index.jsonl``. Splits are by speaker
and taken from the CSV as they are.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from lipsync_cli.audio import mel as mel_module
from lipsync_cli.face.align import LOWER_FACE
from lipsync_cli.geometry import affine_scale, transform_points, warp_to_crop
from lipsync_cli.media.audio import open_speech
from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.media.video import open_frames
from lipsync_cli.timeline import nearest_frames
from lipsync_cli.types import MEL_RATE, Float32, MediaInfo, UInt8

LATENT_RATE = 25
CROP_SIZE = 192
DETECT_EVERY = 5
MIN_FRAMES = 20
MAX_TRUSTED_LAG = 3
# Rows of context kept before the first and after the last frame, so that every audio window is inside the clip.
MEL_MARGIN = 64
# Where the CSV has no measured lag, the folder's known one (frames, + = audio late).
FOLDER_LAG = {"lrw_ar": 1}


@dataclass(frozen=True, slots=True)
class Clip:
    """One row of the CSV that will be prepared."""

    number: int
    path: str
    split: str
    speaker: str
    licence: str
    lag_frames: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """What ``index.jsonl`` says of a prepared clip. ``source_scale`` is source pixels per crop pixel."""

    number: int
    path: str
    split: str
    speaker: str
    licence: str
    frames: int
    source_scale: float
    note: str = ""


def read_clips(csv_path: Path, *, seconds_per_speaker: float, seed: int = 0) -> list[Clip]:
    """Clips of every split, at most ``seconds_per_speaker`` of each speaker, chosen at random with ``seed``."""
    with csv_path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    random.Random(seed).shuffle(rows)
    used: Counter[tuple[str, str]] = Counter()
    clips = []
    for row in rows:
        key = (row["split"], row["speaker"])
        if used[key] >= seconds_per_speaker:
            continue
        used[key] += float(row["duration_s"])  # type: ignore[assignment]
        clips.append((row, _lag(row)))
    clips.sort(key=lambda item: item[0]["path"])
    return [
        Clip(number, row["path"], row["split"], row["speaker"], row["licence"], lag)
        for number, (row, lag) in enumerate(clips)
    ]


def _lag(row: dict[str, str]) -> int:
    """The audio lag to undo. A measured lag beyond ±3 frames is a failed measurement, not a lag."""
    if row["sync_lag_frames"]:
        lag = int(row["sync_lag_frames"])
        return lag if abs(lag) <= MAX_TRUSTED_LAG else 0
    return FOLDER_LAG.get(Path(row["path"]).parts[1], 0)


def prepare(data: Path, out: Path, *, seconds_per_speaker: float = 100.0, workers: int = 2) -> Iterator[Prepared]:
    """Prepare ``data/clips.csv`` into ``out``, yielding one record per clip as it is done.

    Clips already in ``index.jsonl`` are skipped, so an interrupted run goes on where it stopped.
    """
    out.mkdir(parents=True, exist_ok=True)
    index = out / "index.jsonl"
    done = {record.number for record in read_index(out)} if index.exists() else set()
    clips = [
        c for c in read_clips(data / "clips.csv", seconds_per_speaker=seconds_per_speaker) if c.number not in done
    ]
    # In random order, so that an unfinished run is a fair sample of every source.
    random.Random(0).shuffle(clips)
    with ProcessPoolExecutor(workers) as pool, index.open("a") as handle:
        futures = [pool.submit(prepare_clip, data, out, clip) for clip in clips]
        for future in as_completed(futures):
            record = future.result()
            handle.write(json.dumps(asdict(record)) + "\n")
            handle.flush()
            yield record


def read_index(out: Path) -> list[Prepared]:
    """Records of a prepared folder, in clip order."""
    lines = (out / "index.jsonl").read_text().splitlines()
    return sorted((Prepared(**json.loads(line)) for line in lines), key=lambda record: record.number)


def prepare_clip(data: Path, out: Path, clip: Clip) -> Prepared:
    """Decode, track, align and save one clip; ``note`` says why a clip gave no frames."""

    def rejected(note: str) -> Prepared:
        return Prepared(clip.number, clip.path, clip.split, clip.speaker, clip.licence, 0, 0.0, note)

    frames, samples = _decode(data / clip.path)
    if len(frames) < MIN_FRAMES:
        return rejected(f"{len(frames)} frames")
    landmarks = _landmarks(frames)
    if landmarks is None:
        return rejected("no single face found in every detection window")
    smooth = gaussian_filter1d(landmarks, 1.5, axis=0, mode="nearest")
    matrices = [LOWER_FACE.matrix(LOWER_FACE.anchors(points), CROP_SIZE) for points in smooth]
    crops = np.stack([warp_to_crop(f, m, CROP_SIZE) for f, m in zip(frames, matrices, strict=True)])
    in_crop = np.stack([transform_points(m, p) for m, p in zip(matrices, landmarks, strict=True)])
    np.save(out / f"{clip.number:05d}.crops.npy", crops)
    np.savez(
        out / f"{clip.number:05d}.npz",
        landmarks=in_crop.astype(np.float32),
        mel=_mel_rows(samples, len(frames), clip.lag_frames),
    )
    scale = float(np.median([1 / affine_scale(m) for m in matrices]))
    return Prepared(clip.number, clip.path, clip.split, clip.speaker, clip.licence, len(frames), round(scale, 3))


def _decode(path: Path) -> tuple[list[UInt8], Float32]:
    """RGB frames nearest to a 25 Hz grid and mono 16 kHz samples that start with the first frame."""
    info = probe(path)
    with open_frames(info) as source:
        timed = [(frame.time, frame.rgb) for frame in source if frame.rgb is not None]
    start, end = timed[0][0], timed[-1][0]
    grid = [start + Fraction(i, LATENT_RATE) for i in range(int((end - start) * LATENT_RATE) + 1)]
    nearest = nearest_frames([time for time, _ in timed], grid)
    with open_speech(path) as speech:
        samples = np.concatenate([span.samples[0] for span in speech])
    # Second 0 of the sound is the file's start, which is not always where the picture begins.
    shift = round((require_video(info).start - _file_start(info)) * mel_module.SAMPLE_RATE)
    return [timed[i][1] for i in nearest], np.pad(samples, (-shift, 0)) if shift < 0 else samples[shift:]


def _file_start(info: MediaInfo) -> Fraction:
    """Where players put second 0: the earliest stream's start."""
    return min([require_video(info).start, *(stream.start for stream in info.audio)])


def _landmarks(frames: list[UInt8]) -> npt.NDArray[np.float64] | None:
    """68 landmarks ``[n 68 2]``; faces are detected every few frames and followed by their landmarks between."""
    import dlib
    import face_recognition_models as weights

    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(weights.pose_predictor_model_location())
    found = []
    box = None
    for index, frame in enumerate(frames):
        if index % DETECT_EVERY == 0 or box is None:
            boxes = detector(frame, 1 if max(frame.shape) < 300 else 0)
            box = max(boxes, key=lambda b: b.area()) if len(boxes) else None
            if box is None:
                return None
        points = np.array([[p.x, p.y] for p in predictor(frame, box).parts()], np.float64)
        found.append(points)
    return np.stack(found)


def _mel_rows(samples: Float32, frames: int, lag_frames: int) -> Float32:
    """Rows whose number ``MEL_MARGIN + 4·i`` is centred on frame i, with the clip's lag undone."""
    half = mel_module.WINDOW // 2
    first = lag_frames * mel_module.SAMPLE_RATE // LATENT_RATE - MEL_MARGIN * mel_module.HOP - half
    rows = 2 * MEL_MARGIN + frames * MEL_RATE // LATENT_RATE
    last = first + (rows - 1) * mel_module.HOP + mel_module.WINDOW
    padded = np.pad(samples, (max(0, -first), max(0, last - len(samples))))
    begin = max(0, first)
    return mel_module.log_mel(padded[begin : begin + last - first])
