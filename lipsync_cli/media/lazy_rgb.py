"""RGB of decoded frames, converted only where somebody looks: a dub looks around faces, not at the whole picture."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from lipsync_cli.core.pixel_formats import PIXEL_FORMATS, PixelFormat
from lipsync_cli.core.types import ColorInfo, UInt8
from lipsync_cli.media.color import RgbConverter
from lipsync_cli.media.pixels import sample_rows

# Conversion is set up anew for every size, so sizes are rounded up to multiples of about this, and a few are cached.
_GRID = 24
_CACHED_SIZES = 8
# swscale interpolates chroma, for which a part's edges lack neighbours.
_EDGE = 4
# From this share of the picture on, converting all of it at once is no slower.
_MOST = 0.6


class LazyRgbConverter:
    """Makes the lazy pictures of one stream. Any thread may look at them, one at a time is served."""

    def __init__(self, color: ColorInfo) -> None:
        self._color = color
        self._lock = threading.Lock()
        self._whole = RgbConverter(color)
        self._blanks: OrderedDict[tuple[Any, ...], tuple[av.VideoFrame, RgbConverter]] = OrderedDict()

    def lazy(self, frame: av.VideoFrame) -> LazyRgb:
        """A view of ``frame``, which is in a delivered format and stays as it is."""
        return LazyRgb(frame, self)

    def whole(self, frame: av.VideoFrame) -> UInt8:
        """All of the picture, RGB ``[h w 3]``."""
        with self._lock:
            return self._whole.rgb(frame)

    def part(self, frame: av.VideoFrame, x: int, y: int, width: int, height: int) -> UInt8:
        """RGB ``[height width 3]`` of the part that begins at ``x``, ``y``, which are multiples of chroma's steps."""
        fmt = PIXEL_FORMATS[frame.format.name]
        places = []
        for plane, (h, w) in enumerate(fmt.shapes(width, height)):
            sx, sy = fmt.plane_shift(plane)
            places.append((slice(y >> sy, (y >> sy) + h), slice(x >> sx, (x >> sx) + w)))
        return self._converted(frame, fmt, width, height, places)

    def thinned(self, frame: av.VideoFrame, step: int) -> UInt8:
        """Every ``step``-th pixel across and down, with the chroma sample that it shares."""
        fmt = PIXEL_FORMATS[frame.format.name]
        target = PIXEL_FORMATS[fmt.name.replace("420", "444").replace("422", "444")]
        width, height = -(-frame.width // step), -(-frame.height // step)
        places: list[Any] = []
        for plane in range(fmt.planes):
            sx, sy = fmt.plane_shift(plane)
            if step % (1 << max(sx, sy)):
                places.append(np.ix_(np.arange(height) * step >> sy, np.arange(width) * step >> sx))
            else:  # the same, much faster
                places.append((slice(0, height * step >> sy, step >> sy), slice(0, width * step >> sx, step >> sx)))
        return self._converted(frame, target, width, height, places)

    def _converted(self, frame: av.VideoFrame, fmt: PixelFormat, width: int, height: int, places: list[Any]) -> UInt8:
        with self._lock:
            blank, converter = self._blank(frame, fmt.name, width, height)
            source = sample_rows(frame, PIXEL_FORMATS[frame.format.name])
            for target, samples, place in zip(sample_rows(blank, fmt), source, places, strict=True):
                taken = samples[place]
                target[: taken.shape[0], : taken.shape[1]] = taken
            return converter.rgb(blank)

    def _blank(
        self, like: av.VideoFrame, pix_fmt: str, width: int, height: int
    ) -> tuple[av.VideoFrame, RgbConverter]:
        """A frame to fill that has the tags of ``like``: where chroma samples sit cannot be set otherwise."""
        key = (pix_fmt, width, height)
        if key not in self._blanks:
            pix_fmt, width, height = key
            blank = VideoReformatter().reformat(like, width=width, height=height, format=pix_fmt)
            self._blanks[key] = (blank, RgbConverter(self._color, threads=1))
        self._blanks.move_to_end(key)
        if len(self._blanks) > _CACHED_SIZES:
            self._blanks.popitem(last=False)
        return self._blanks[key]


class LazyRgb:
    """See ``types.RgbView``. Keeps what has been converted; holds the decoded frame."""

    def __init__(self, frame: av.VideoFrame, converter: LazyRgbConverter) -> None:
        self._frame, self._converter = frame, converter
        self.width, self.height = frame.width, frame.height
        across, down = PIXEL_FORMATS[frame.format.name].chroma
        # Chroma of an odd size is stretched a little over the whole picture, which a part cannot know of.
        self._divisible = self.width % across == self.height % down == 0
        self._all: UInt8 | None = None
        self._parts: list[tuple[UInt8, int, int]] = []

    def whole(self) -> UInt8:
        """All of it, RGB ``[h w 3]``, contiguous."""
        if self._all is None:
            self._all, self._parts = self._converter.whole(self._frame), []
        return self._all

    def around(self, box: tuple[int, int, int, int], step: int) -> tuple[UInt8, int, int]:
        """See RgbView."""
        if self._all is not None or not self._divisible:
            return self.whole(), 0, 0
        x0, x1 = max(0, box[0]), min(self.width, box[2])
        y0, y1 = max(0, box[1]), min(self.height, box[3])
        for part, x, y in self._parts:
            rows, columns = part.shape[:2]
            there = _within(x0, x1, x, columns, self.width) and _within(y0, y1, y, rows, self.height)
            if there and x % step == y % step == 0:
                return part, x, y
        unit = int(np.lcm(2, step))
        grid = -(-_GRID // unit) * unit
        (x, width), (y, height) = _span(x0, x1, self.width, grid), _span(y0, y1, self.height, grid)
        converted = sum(part.shape[0] * part.shape[1] for part, _, _ in self._parts)
        if converted + width * height > _MOST * self.width * self.height:
            return self.whole(), 0, 0
        part = self._converter.part(self._frame, x, y, width, height)
        self._parts.append((part, x, y))
        return part, x, y

    def thinned(self, step: int) -> UInt8:
        """See RgbView."""
        if self._all is not None or step == 1:
            return np.ascontiguousarray(self.whole()[::step, ::step])
        return self._converter.thinned(self._frame, step)


def _span(low: int, high: int, size: int, grid: int) -> tuple[int, int]:
    """Start and length along one axis, on the grid, with room at the edges; the length seldom changes."""
    low = min(max(0, low - _EDGE), size - 1)
    start = low // grid * grid
    length = (max(high - low, 1) + _EDGE + 2 * grid - 2) // grid * grid
    return start, min(length, size - start)


def _within(low: int, high: int, start: int, length: int, size: int) -> bool:
    """Whether a part holds ``low`` … ``high`` clear of those edges that are not the picture's."""
    first = start + _EDGE if start else 0
    last = start + length - _EDGE if start + length < size else size
    return first <= low and high <= last
