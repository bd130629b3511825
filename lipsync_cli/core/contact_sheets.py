"""Pictures for people to judge by: source above result over time, and the faces found in a video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lipsync_cli.core.errors import OutputError
from lipsync_cli.core.types import Box, UInt8

Picture = UInt8 | Callable[[], UInt8]

GAP_PX = 4
LABEL_PX = 22
PAPER = 24
INK = (235, 235, 235)


@dataclass(frozen=True, slots=True)
class _Column:
    """One moment: its time, and its pictures from top to bottom, all scaled already."""

    time: Fraction
    pictures: tuple[UInt8, ...]


class ContactSheet:
    """Up to ``columns`` moments of a dub, spread evenly over a length that need not be known beforehand.

    Frames are offered one by one and every ``stride``-th is taken, scaled down; at four times the columns
    every other one is dropped and the stride doubles. At most ``4 · columns`` small pictures are held.
    """

    def __init__(self, columns: int = 8, height: int = 180) -> None:
        if columns < 1 or height < 16:
            raise ValueError(f"a sheet needs columns ≥ 1 and height ≥ 16, got {columns} and {height}")
        self._columns, self._height = columns, height
        self._moments: list[_Column] = []
        self._count, self._stride = 0, 1

    def add(self, time: Fraction, source: Picture, result: Picture, *, zoom: Box | None = None) -> None:
        """Offer a frame: RGB uint8 ``[h w 3]``, or functions that make it, called only if the frame is taken.

        ``zoom`` is a box x0, y0, x1, y1 in the pictures' pixels, usually the mouth, that gets rows of its own.
        """
        index, self._count = self._count, self._count + 1
        if index % self._stride:
            return
        full = [picture() if callable(picture) else picture for picture in (source, result)]
        rows = [scale_to(picture, self._height) for picture in full]
        if zoom is not None:
            rows += [_zoomed(picture, zoom, rows[0].shape[:2]) for picture in full]
        self._moments.append(_Column(time, tuple(rows)))
        if len(self._moments) == 4 * self._columns:
            self._moments = self._moments[::2]
            self._stride *= 2

    @property
    def times(self) -> tuple[Fraction, ...]:
        """Times of the moments that would be drawn now."""
        return tuple(column.time for column in self._spread())

    def render(self) -> UInt8:
        """The sheet as RGB uint8 ``[h w 3]``: times, sources, results, then the zoomed rows if any."""
        columns = self._spread()
        if not columns:
            return label("no frames", 160)
        return _side_by_side([_stacked(column) for column in columns])

    def save(self, path: Path) -> None:
        """Write the sheet as PNG."""
        save_png(path, self.render())

    def _spread(self) -> list[_Column]:
        if len(self._moments) <= self._columns:
            return self._moments
        picks = np.linspace(0, len(self._moments) - 1, self._columns).round().astype(int)
        return [self._moments[i] for i in picks]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A face for ``face_sheet``: its picture, RGB uint8, and lines of ASCII text to go under it."""

    rgb: UInt8
    lines: tuple[str, ...]


def face_sheet(thumbnails: Sequence[Thumbnail], *, columns: int = 6, size: int = 200) -> UInt8:
    """Faces in rows of ``columns``, each ``size`` pixels square over its text, RGB uint8 ``[h w 3]``."""
    if not thumbnails:
        return label("no faces", 160)
    cells = [_cell(thumbnail, size) for thumbnail in thumbnails]
    rows = [_side_by_side(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack([padded(row, row.shape[0], max(r.shape[1] for r in rows)) for row in rows])


def scale_to(rgb: UInt8, height: int) -> UInt8:
    """The picture scaled to ``height``, its shape kept; small pictures are enlarged, so that rows line up."""
    width = max(1, round(rgb.shape[1] * height / rgb.shape[0]))
    how = cv2.INTER_AREA if rgb.shape[0] > height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=how), dtype=np.uint8)


def label(text: str, width: int) -> UInt8:
    """A strip ``width`` wide with a line of ASCII text."""
    strip = np.full((LABEL_PX, width, 3), PAPER, dtype=np.uint8)
    cv2.putText(strip, text, (3, LABEL_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return strip


def save_png(path: Path, rgb: UInt8) -> None:
    """Write RGB uint8 ``[h w 3]`` as PNG; raises OutputError where that is not possible."""
    _, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"The picture {path} cannot be written: {error.strerror}.") from error


def _zoomed(rgb: UInt8, box: Box, size: tuple[int, int]) -> UInt8:
    """The part of ``rgb`` in ``box``, as large as fits in ``size`` (height, width), on paper."""
    height, width = rgb.shape[:2]
    x0, y0 = max(0, min(width - 1, round(box[0]))), max(0, min(height - 1, round(box[1])))
    x1, y1 = max(x0 + 1, min(width, round(box[2]))), max(y0 + 1, min(height, round(box[3])))
    part = rgb[y0:y1, x0:x1]
    fitting = min(size[0], max(1, int(size[1] * part.shape[0] / part.shape[1])))
    return padded(scale_to(part, fitting), *size)


def _stacked(column: _Column) -> UInt8:
    width = max(picture.shape[1] for picture in column.pictures)
    gap = np.full((GAP_PX, width, 3), PAPER, dtype=np.uint8)
    parts = [label(f"{float(column.time):.2f} s", width)]
    for picture in column.pictures:
        parts += [padded(picture, picture.shape[0], width), gap]
    return np.vstack(parts)


def _cell(thumbnail: Thumbnail, size: int) -> UInt8:
    height, width = thumbnail.rgb.shape[:2]
    picture = padded(scale_to(thumbnail.rgb, min(size, max(1, size * height // width))), size, size)
    return np.vstack([picture, *(label(line, size) for line in thumbnail.lines)])


def _side_by_side(cells: Sequence[UInt8]) -> UInt8:
    height = max(cell.shape[0] for cell in cells)
    parts = [padded(cell, height, cell.shape[1] + GAP_PX) for cell in cells]
    return np.hstack(parts)


def padded(rgb: UInt8, height: int, width: int) -> UInt8:
    """``rgb`` in the top left of a sheet of paper, cut where it is larger."""
    paper = np.full((height, width, 3), PAPER, dtype=np.uint8)
    part = rgb[:height, :width]
    paper[: part.shape[0], : part.shape[1]] = part
    return paper
