"""RGB made where it is looked at: the same pixels as the whole picture's, in every delivered format."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from lipsync_cli.core.geometry import cut_from
from lipsync_cli.core.pixel_formats import PIXEL_FORMATS
from lipsync_cli.core.types import ColorInfo, UInt8
from lipsync_cli.faces.tracking.cuts import color_distance, signature
from lipsync_cli.media.color import RgbConverter
from lipsync_cli.media.lazy_rgb import LazyRgb, LazyRgbConverter

WIDTH, HEIGHT = 480, 270


def picture(pix_fmt: str, width: int = WIDTH, height: int = HEIGHT) -> av.VideoFrame:
    """Coloured noise with coarse and fine grain."""
    random = np.random.default_rng(3)
    coarse = np.kron(random.integers(0, 200, (-(-height // 30), -(-width // 30), 3)), np.ones((30, 30, 1)))
    rgb = (coarse[:height, :width] + random.integers(0, 55, (height, width, 3))).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    return frame


def views(pix_fmt: str, *size: int) -> tuple[UInt8, LazyRgb]:
    color = ColorInfo("rgb" if PIXEL_FORMATS[pix_fmt].is_rgb else "bt709", PIXEL_FORMATS[pix_fmt].full_range)
    frame = picture(pix_fmt, *size)
    return RgbConverter(color).rgb(frame), LazyRgbConverter(color).lazy(frame)


@pytest.mark.parametrize("pix_fmt", sorted(PIXEL_FORMATS))
def test_parts_are_those_of_the_whole(pix_fmt: str) -> None:
    for box, step in (((100, 60, 220, 200), 1), ((-30, -20, 90, 100), 3), ((390, 200, 500, 290), 2)):
        whole, lazy = views(pix_fmt)
        part, x, y = lazy.around(box, step)
        assert part.shape[0] < HEIGHT or part.shape[1] < WIDTH
        assert part.flags.c_contiguous and x % step == y % step == 0
        x0, y0, x1, y1 = (max(0, v) for v in box)
        inside = part[y0 - y : y1 - y, x0 - x : x1 - x]
        np.testing.assert_array_equal(inside, whole[y0:y1, x0:x1])


@pytest.mark.parametrize(("scale", "at"), [(0.9, (150, 60)), (0.3, (60, 20)), (1.7, (-20, 180)), (0.6, (420, -10))])
def test_crops_are_those_of_the_whole(scale: float, at: tuple[int, int]) -> None:
    whole, lazy = views("yuv420p")
    matrix = [[scale, 0.2 * scale, -scale * at[0]], [-0.2 * scale, scale, -scale * at[1]]]
    apart = np.abs(cut_from(whole, matrix, 64).astype(int) - cut_from(lazy, matrix, 64))
    assert apart.max() <= 1 and apart.mean() < 0.01


def test_a_part_is_converted_once_and_much_of_the_picture_as_a_whole() -> None:
    _, lazy = views("yuv420p")
    first = lazy.around((200, 100, 280, 180), 1)
    assert lazy.around((210, 110, 270, 170), 1)[0] is first[0]
    assert lazy.around((20, 20, 60, 60), 1)[0] is not first[0]
    assert lazy.around((0, 0, 400, 260), 1)[0] is lazy.whole()
    assert lazy.around((200, 100, 280, 180), 1) == (lazy.whole(), 0, 0)


def test_an_odd_picture_is_converted_as_a_whole() -> None:
    whole, lazy = views("yuv420p", 319, 241)
    part, x, y = lazy.around((100, 100, 150, 150), 1)
    assert (x, y) == (0, 0)
    np.testing.assert_array_equal(part, whole)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray", "gbrp", "yuvj420p"])
@pytest.mark.parametrize("size", [(1280, 720), (961, 541), (320, 180)])
def test_thumbnails_hardly_differ(pix_fmt: str, size: tuple[int, int]) -> None:
    whole, lazy = views(pix_fmt, *size)
    ours, expected = signature(lazy), signature(whole)
    assert np.abs(ours.grey - expected.grey).max() <= 2
    assert color_distance(ours, expected) < 0.08  # a cut is at 0.16 and more
