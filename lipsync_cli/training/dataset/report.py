"""The picture that shows what was prepared: sample crops with landmarks by split, and histograms."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from lipsync_cli.core.contact_sheets import INK, PAPER, Thumbnail, face_sheet, label, padded, save_png
from lipsync_cli.core.types import UInt8
from lipsync_cli.training.dataset.format import (
    LATENT_RATE,
    ClipRecord,
    arrays_path,
    decode_crops,
    read_arrays,
    video_path,
)

COLUMNS, SAMPLE_PX = 8, 150
CHART_PX = (420, 200)
_BAR = (200, 160, 90)
_DOT = (80, 255, 80)


def save_report(folder: Path, records: Sequence[ClipRecord], left_out: Mapping[str, int]) -> Path:
    """Write ``report.png`` of a prepared folder and return its path."""
    width = (CHART_PX[0] + 8) * 3
    parts = [label(_headline(records), width)]
    for split in ("train", "val", "test"):
        shown = _samples([record for record in records if record.split == split])
        if shown:
            parts.append(label(f"{split}: {len(shown)} of {sum(r.split == split for r in records)} clips", width))
            parts.append(
                face_sheet([_thumbnail(folder, record) for record in shown], columns=COLUMNS, size=SAMPLE_PX)
            )
    charts = _charts(records, left_out)
    for first in range(0, len(charts), 3):
        parts.append(np.hstack([np.pad(chart, ((4, 4), (4, 4), (0, 0)), constant_values=PAPER)
                                for chart in charts[first : first + 3]]))  # fmt: skip
    path = folder / "report.png"
    widest = max(part.shape[1] for part in parts)
    save_png(path, np.vstack([padded(part, len(part), widest) for part in parts]))
    return path


def _headline(records: Sequence[ClipRecord]) -> str:
    minutes = sum(record.frames for record in records) / LATENT_RATE / 60
    size = sum(record.bytes for record in records) / 1e6
    return f"{len(records)} clips, {len({r.speaker for r in records})} speakers, {minutes:.1f} min, {size:.1f} MB"


def _samples(records: Sequence[ClipRecord]) -> list[ClipRecord]:
    """Two rows of clips, as many speakers as possible; the same for the same records."""
    by_speaker: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in random.Random(0).sample(list(records), len(records)):
        by_speaker[record.speaker].append(record)
    rounds = max(map(len, by_speaker.values()), default=0)
    spread = [own[i] for i in range(rounds) for own in by_speaker.values() if i < len(own)]
    return spread[: 2 * COLUMNS]


def _thumbnail(folder: Path, record: ClipRecord) -> Thumbnail:
    middle = record.frames // 2
    crop = decode_crops(video_path(folder, record.name))[middle].copy()
    for x, y in read_arrays(arrays_path(folder, record.name)).landmarks[middle]:
        cv2.circle(crop, (round(float(x)), round(float(y))), max(1, record.crop_size // 128), _DOT, -1, cv2.LINE_AA)
    lag = f"lag {record.lag_frames:+d} {record.lag_from}"
    sync = "" if record.sync_confidence is None else f" {record.sync_confidence:.2f}"
    name = "".join(letter if letter.isascii() else "?" for letter in record.speaker)[-18:]
    return Thumbnail(crop, (name, f"{record.face_px:.0f}px yaw {record.yaw:.2f}", lag + sync))


def _charts(records: Sequence[ClipRecord], left_out: Mapping[str, int]) -> list[UInt8]:
    minutes: Counter[str] = Counter()
    for record in records:
        minutes[PurePosixPath(record.path).parent.name or "."] += round(record.frames / LATENT_RATE)
    return [
        histogram("face width, px", [r.face_px for r in records]),
        histogram("yaw (90th percentile, quarter turns)", [r.yaw for r in records]),
        histogram("pitch (90th percentile, quarter turns)", [r.pitch for r in records]),
        histogram("sound late by, frames", [float(r.lag_frames) for r in records], whole=True),
        histogram("sync confidence", [r.sync_confidence for r in records if r.sync_confidence is not None]),
        histogram("sharpness (variance of the Laplacian)", [r.blur for r in records]),
        bars("seconds by folder", minutes.most_common(9)),
        bars("clips by length, s", [(f"{s}", n) for s, n in _lengths(records)]),
        bars("clips left out", Counter(left_out).most_common(9)),
    ]


def _lengths(records: Sequence[ClipRecord]) -> list[tuple[int, int]]:
    return sorted(Counter(record.frames // LATENT_RATE for record in records).items())[:11]


def histogram(title: str, values: Sequence[float], *, whole: bool = False, bins: int = 20) -> UInt8:
    """Columns over equal parts of the values' range, or over whole numbers."""
    if not values:
        return bars(title + ": none", [])
    if whole:
        counted = Counter(round(value) for value in values)
        return _columns(
            title, [counted[n] for n in range(min(counted), max(counted) + 1)], min(counted), max(counted)
        )
    counts, edges = np.histogram(values, bins=bins)
    return _columns(title, counts.tolist(), float(edges[0]), float(edges[-1]))


def bars(title: str, rows: Sequence[tuple[str, float]]) -> UInt8:
    """Horizontal bars with their names and values."""
    chart = _chart(title)
    most = max((value for _, value in rows), default=0) or 1
    for i, (name, value) in enumerate(rows):
        y = 26 + 18 * i
        cv2.rectangle(chart, (150, y), (150 + round(200 * value / most), y + 12), _BAR, -1)
        _write(chart, name[-20:], 4, y + 10)
        _write(chart, f"{value:g}", 154 + round(200 * value / most), y + 10)
    return chart


def _columns(title: str, counts: Sequence[int], low: float, high: float) -> UInt8:
    chart = _chart(title)
    width, height = CHART_PX
    most, step = max(max(counts), 1), (width - 20) / len(counts)
    for i, count in enumerate(counts):
        top = height - 24 - round((height - 60) * count / most)
        cv2.rectangle(chart, (round(10 + i * step), top), (round(8 + (i + 1) * step), height - 24), _BAR, -1)
    _write(chart, f"{low:g}", 8, height - 8)
    _write(chart, f"{high:g}", width - 60, height - 8)
    _write(chart, f"most: {most}", width - 110, 34)
    return chart


def _chart(title: str) -> UInt8:
    chart = np.full((CHART_PX[1], CHART_PX[0], 3), 40, np.uint8)
    _write(chart, title, 6, 16)
    return chart


def _write(picture: UInt8, text: str, x: int, y: int) -> None:
    ascii_text = text.encode("ascii", "replace").decode()
    cv2.putText(picture, ascii_text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
