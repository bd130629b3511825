"""Small prepared folders, written by the code that writes real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from lipsync_cli.media.crop_video import write_crops
from lipsync_cli.training.dataset.format import (
    SAMPLES_PER_FRAME,
    SOUND_MARGIN,
    ClipArrays,
    ClipRecord,
    arrays_path,
    content_hash,
    video_path,
    write_arrays,
    write_index,
)


def soft_noise(frames: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures ``[frames size size 3]`` of no meaning, but smooth enough for a video codec."""
    small = rng.integers(0, 256, (frames, 12, 12, 3), dtype=np.uint8)
    return np.stack([cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC) for picture in small])


def write_prepared(
    folder: Path,
    clips: Sequence[tuple[str, str]],
    *,
    frames: int,
    size: int = 192,
    licence: str = "MIT",
    marks: Callable[[int], np.ndarray] | None = None,
) -> Path:
    """One clip for each (split, speaker): noise for pictures and sound, but shaped like the real thing.

    ``marks`` gives a clip's landmarks ``[frames 68 2]`` by its number, otherwise they are noise, too.
    """
    rng = np.random.default_rng(0)
    (folder / "clips").mkdir(parents=True)
    records = []
    for number, (split, speaker) in enumerate(clips):
        name = f"{number:05d}"
        write_crops(video_path(folder, name), soft_noise(frames, size, rng), size)
        samples = rng.normal(0, 3000, 2 * SOUND_MARGIN + frames * SAMPLES_PER_FRAME).astype(np.int16)
        drawn = rng.uniform(60, 130, (frames, 68, 2)).astype(np.float32)
        landmarks = drawn if marks is None else marks(number).astype(np.float32)
        matrices = np.tile(np.eye(2, 3, dtype=np.float32), (frames, 1, 1))
        rows = np.full(frames, size, np.int16)
        arrays = ClipArrays(landmarks, samples, matrices, np.arange(frames, dtype=np.float32) / 25, rows)
        write_arrays(arrays_path(folder, name), arrays)
        paths = video_path(folder, name), arrays_path(folder, name)
        records.append(
            ClipRecord(
                name, f"{number}.mp4", split, speaker, licence, frames, size, 0.0, 1.0,
                bytes=sum(path.stat().st_size for path in paths), sha256=content_hash(*paths),
            )
        )  # fmt: skip
    write_index(folder, records)
    return folder
