"""The format of prepared clips, and reading them: needs nothing but numpy and OpenCV.

A prepared folder holds ``index.jsonl``, one ``ClipRecord`` a line, and for each of them two files in ``clips/``:
``NAME.mp4``, the crops as H.264, and ``NAME.npz`` with

- ``landmarks`` int16 ``[n 68 2]``: crop pixels in steps of 1/32, as differences from frame to frame;
- ``samples`` int16 ``[m]``: mono sound at 16 kHz, as differences from sample to sample in units of ``step``, from
  ``SOUND_MARGIN`` samples before the first frame to as many after the last, zero beyond the source's ends. The
  source's own timing: ``ClipRecord.lag_frames`` is how late it is;
- ``step`` int16: a power of two that leaves the rounding 60 dB below the clip's level;
- ``matrices`` float32 ``[n 2 3]``: pixels of the source's stored picture → crop pixels;
- ``times`` float32 ``[n]``: seconds of the source at which each frame is shown;
- ``rows`` int16 ``[n]``: rows of each crop that lie in the picture, which ends above the others.

Integers are kept as byte planes, which deflate to about two thirds of what their words do.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.audio import mel as mel_module
from lipsync_cli.core.errors import InputError, OutputError
from lipsync_cli.core.types import MEL_RATE, SPEECH_RATE, Float32, UInt8

LATENT_RATE = 25
MIN_FRAMES = 20
# Rows of context kept before the first and after the last frame, so that every audio window is inside the clip.
MEL_MARGIN = 64
MAX_LAG = 6
SAMPLES_PER_FRAME = SPEECH_RATE // LATENT_RATE
CLIP_MARGIN = MEL_MARGIN * mel_module.HOP + mel_module.WINDOW // 2
"""Samples before the first frame and after the last that those rows cover."""
SOUND_MARGIN = CLIP_MARGIN + MAX_LAG * SAMPLES_PER_FRAME
LANDMARK_STEPS = 32
SOUND_SNR_DB = 60.0
Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """One line of ``index.jsonl``: a prepared clip.

    ``first_s`` is where it begins in its source at ``path``; ``source_scale`` is source pixels per crop pixel;
    ``face_px`` the box width in display pixels; ``yaw`` and ``pitch`` the 90th percentile of the turn either way in
    quarter turns; ``blur`` the variance of the Laplacian at the source's own scale. ``lag_frames`` is how late the
    stored sound is, ``lag_from`` where that is from (csv, clip, folder), ``sync_confidence`` the expert's at that
    lag. ``bytes`` and ``sha256`` are those of the MP4 and the NPZ, one after the other.
    """

    name: str
    path: str
    split: str
    speaker: str
    licence: str
    frames: int
    crop_size: int
    first_s: float
    source_scale: float
    face_px: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    blur: float = 0.0
    lag_frames: int = 0
    lag_from: str = "csv"
    sync_confidence: float | None = None
    bytes: int = 0
    sha256: str = ""


def read_index(folder: Path) -> list[ClipRecord]:
    """Records of a prepared folder, by name. InputError where there are none, or of another format."""
    path = folder / "index.jsonl"
    if not path.is_file():
        raise InputError(f"{folder} holds no prepared clips.", hint="Run 'lipsync train prepare' first.")
    try:
        records = [ClipRecord(**json.loads(line)) for line in path.read_text().splitlines()]
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not an index of prepared clips that this version reads: {error}.",
            hint="Run 'lipsync train prepare' again, into another folder.",
        ) from error
    return sorted(records, key=lambda record: record.name)


def write_index(folder: Path, records: list[ClipRecord]) -> None:
    """Replace the folder's index, whole or not at all."""
    partial = folder / "index.part"
    partial.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records))
    partial.replace(folder / "index.jsonl")


def video_path(folder: Path, name: str) -> Path:
    """The crops of a clip."""
    return folder / "clips" / f"{name}.mp4"


def arrays_path(folder: Path, name: str) -> Path:
    """Everything else of a clip."""
    return folder / "clips" / f"{name}.npz"


def content_hash(*paths: Path) -> str:
    """SHA-256 of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ClipArrays:
    """What lies beside the crops: ``landmarks`` ``[n 68 2]`` crop pixels, ``samples`` int16 with ``SOUND_MARGIN``.

    See the module for the rest.
    """

    landmarks: Float32
    samples: Int16
    matrices: Float32
    times: Float32
    rows: Int16


def write_arrays(path: Path, arrays: ClipArrays) -> None:
    """Write the NPZ of a clip, whole or not at all."""
    partial = path.with_suffix(".part.npz")
    step = _sound_step(arrays.samples)
    steps = np.round(arrays.landmarks * LANDMARK_STEPS).clip(-32768, 32767).astype(np.int16)
    np.savez_compressed(
        partial,
        landmarks=_planes(steps),
        samples=_planes(np.round(arrays.samples / step).astype(np.int16)),
        step=np.int16(step),
        matrices=arrays.matrices.astype(np.float32),
        times=arrays.times.astype(np.float32),
        rows=arrays.rows.astype(np.int16),
    )
    partial.replace(path)


def read_arrays(path: Path) -> ClipArrays:
    """Read the NPZ of a clip."""
    with np.load(path) as stored:
        landmarks = _words(stored["landmarks"]).astype(np.float32) / np.float32(LANDMARK_STEPS)
        # The loudest sample may round beyond the range.
        samples = (_words(stored["samples"]).astype(np.int32) * int(stored["step"])).clip(-32768, 32767)
        return ClipArrays(landmarks, samples.astype(np.int16), stored["matrices"], stored["times"], stored["rows"])


def _sound_step(samples: Int16) -> int:
    """The largest power of two whose rounding noise is ``SOUND_SNR_DB`` below the sound's level.

    Whole numbers rounded to whole multiples of an even step are off by (step² + 2) / 12 in the mean square.
    """
    power = float(np.mean(np.square(samples.astype(np.float64)))) * 10 ** (-SOUND_SNR_DB / 10)
    return int(2 ** max(0, np.floor(np.log2(max(12 * power - 2, 1)) / 2)))


def _planes(values: Int16) -> UInt8:
    """Low and high bytes ``[2 …]`` of the differences along the first axis, which wrap."""
    steps = np.diff(values, axis=0, prepend=np.zeros_like(values[:1]))
    return np.stack([steps & 0xFF, (steps >> 8) & 0xFF]).astype(np.uint8)


def _words(planes: UInt8) -> Int16:
    steps = planes[0].astype(np.int16) | (planes[1].astype(np.int16) << 8)
    return np.asarray(np.cumsum(steps, axis=0, dtype=np.int16))


def clip_samples(samples: Int16, frames: int, lag_frames: int) -> Float32:
    """The sound in [−1, 1] with its lag undone, from ``CLIP_MARGIN`` samples before the first of ``frames`` frames to
    as many after the last."""
    first = SOUND_MARGIN - CLIP_MARGIN + lag_frames * SAMPLES_PER_FRAME
    if abs(lag_frames) > MAX_LAG:
        raise ValueError(f"the stored sound reaches {MAX_LAG} frames of lag, not {lag_frames}")
    part = samples[first : first + 2 * CLIP_MARGIN + frames * SAMPLES_PER_FRAME]
    return np.asarray(part, np.float32) / np.float32(32768)


def mel_rows(sound: Float32, frames: int) -> Float32:
    """Rows ``[2·64 + 4·frames 80]`` of ``clip_samples``; row ``MEL_MARGIN + 4·i`` is centred on frame i."""
    rows = 2 * MEL_MARGIN + frames * MEL_RATE // LATENT_RATE
    return mel_module.log_mel(sound[: (rows - 1) * mel_module.HOP + mel_module.WINDOW])


class StoredCrops:
    """The crops of one clip, uint8 ``[n s s 3]``, by frame number, slice or array of numbers, like an array of them.

    The video is decoded as a whole when a frame is first asked for, into ``cache``, and memory-mapped from then on:
    training draws single frames of random clips, for which a video is the wrong order.
    """

    def __init__(self, video: Path, cache: Path, frames: int, size: int) -> None:
        self._video, self._cache = video, cache
        self.shape = (frames, size, size, 3)
        self._frames: UInt8 | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> UInt8:
        if self._frames is None:
            self._frames = self._open()
        return np.asarray(self._frames[index], np.uint8)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self[:], dtype)

    def _open(self) -> UInt8:
        if not self._cache.is_file():
            crops = decode_crops(self._video)
            if crops.shape != self.shape:
                raise InputError(
                    f"{self._video} decodes to {crops.shape[0]} frames of {crops.shape[1]} px, "
                    f"expected {self.shape[0]} of {self.shape[1]}.",
                    hint="The file is damaged; copy the prepared folder again.",
                )
            try:
                self._store(crops)
            except OSError as error:
                raise OutputError(
                    f"Decoded crops cannot be kept in {self._cache.parent}: {error.strerror}.",
                    hint=f"They need about {crops.nbytes / 1e6:.0f} MB for each clip.",
                ) from error
        frames: UInt8 = np.load(self._cache, mmap_mode="r")
        return frames

    def _store(self, crops: UInt8) -> None:
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        # Of several processes each may be the first to want a clip.
        partial = self._cache.with_suffix(f".{os.getpid()}.part.npy")
        np.save(partial, crops)
        partial.replace(self._cache)


def decode_crops(path: Path) -> UInt8:
    """All frames of an MP4 as RGB uint8 ``[n h w 3]``; InputError when it cannot be read."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    frames = []
    try:
        while True:
            read, bgr = capture.read()
            if not read:
                break
            frames.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    if not frames:
        raise InputError(f"{path} cannot be decoded.", hint="Copy the prepared folder again.")
    return np.stack(frames).astype(np.uint8, copy=False)
