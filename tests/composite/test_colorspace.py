"""Known code values, parity with swscale, and chroma sample positions."""

from __future__ import annotations

import av
import numpy as np
import pytest
from composite_scenes import smooth_rgb

from lipsync_cli.composite.colorspace import PIXEL_FORMATS, pixel_format, planes_from_rgb, rgb_to_planes, subsample
from lipsync_cli.errors import InputError
from lipsync_cli.types import ColorInfo, Plane

BT709, BT601, BT2020 = ColorInfo("bt709"), ColorInfo("bt601"), ColorInfo("bt2020")
WHITE, BLACK, RED, GREEN, BLUE = (1, 1, 1), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)


def code(name: str, color: ColorInfo, rgb: tuple[int, int, int]) -> list[int]:
    picture = np.broadcast_to(np.float32(rgb), (4, 4, 3))
    return [int(plane[0, 0]) for plane in planes_from_rgb(picture, pixel_format(name), color)]


@pytest.mark.parametrize(
    ("name", "color", "rgb", "expected"),
    [
        ("yuv420p", BT709, WHITE, [235, 128, 128]),
        ("yuv420p", BT709, BLACK, [16, 128, 128]),
        ("yuv420p", BT709, RED, [63, 102, 240]),
        ("yuv420p", BT709, GREEN, [173, 42, 26]),
        ("yuv420p", BT709, BLUE, [32, 240, 118]),
        ("yuv444p", BT601, RED, [81, 90, 240]),
        ("yuv444p", BT601, GREEN, [145, 54, 34]),
        ("yuv444p", BT601, BLUE, [41, 240, 110]),
        ("yuv444p", BT2020, RED, [74, 97, 240]),
        ("yuvj420p", BT601, RED, [76, 85, 255]),
        ("yuv444p", ColorInfo("bt709", full_range=True), WHITE, [255, 128, 128]),
        ("yuv420p10le", BT709, WHITE, [940, 512, 512]),
        ("yuv420p10le", BT709, RED, [250, 409, 960]),
        ("yuv420p12le", BT2020, WHITE, [3760, 2048, 2048]),
        ("gray", BT709, WHITE, [255]),
        ("gray10le", BT709, GREEN, [732]),
        ("gbrp", ColorInfo("rgb"), RED, [0, 0, 255]),
        ("gbrp10le", ColorInfo("rgb"), GREEN, [1023, 0, 0]),
    ],
)
def test_known_code_values(name: str, color: ColorInfo, rgb: tuple[int, int, int], expected: list[int]) -> None:
    assert code(name, color, rgb) == expected


def swscale(rgb: np.ndarray, name: str, color: ColorInfo) -> list[Plane]:
    space = {"bt709": "ITU709", "bt601": "ITU601"}[color.matrix]
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    full = "JPEG" if color.full_range else "MPEG"
    out = frame.reformat(format=name, dst_colorspace=space, src_color_range="JPEG", dst_color_range=full)
    dtype = pixel_format(name).dtype
    item = np.dtype(dtype).itemsize
    return [
        np.frombuffer(p, dtype).reshape(p.height, p.line_size // item)[:, : p.width]  # type: ignore[arg-type]
        for p in out.planes
    ]


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le"])
def test_agrees_with_swscale(name: str, full: bool, matrix: str) -> None:
    rgb = np.rint(smooth_rgb(64, 48) * 255).astype(np.uint8)
    color = ColorInfo(matrix, full_range=full)
    fmt = pixel_format(name)
    ours = planes_from_rgb(rgb / np.float32(255), fmt, color)
    for mine, theirs in zip(ours, swscale(rgb, name, color), strict=True):
        difference = np.abs(mine.astype(int) - theirs.astype(int)) / (1 << (fmt.depth - 8))
        assert difference.max() <= 2
        assert difference.mean() < 0.75


def test_gray_agrees_with_swscale() -> None:
    rgb = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="gray")
    (ours,) = planes_from_rgb(rgb / np.float32(255), pixel_format("gray"), BT709)
    assert np.abs(ours.astype(int) - frame.to_ndarray().astype(int)).max() <= 1


@pytest.mark.parametrize(("siting", "position"), [("center", 0.5), ("left", 0.0)])
def test_subsampled_values_belong_to_their_position(siting: str, position: float) -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32), (8, 1))
    chroma = subsample(ramp, (1, 1), siting)  # type: ignore[arg-type]
    grid = pixel_format("yuv420p").to_luma(1, siting)  # type: ignore[arg-type]
    assert grid[0, 2] == position
    assert chroma.shape == (4, 16)
    np.testing.assert_allclose(chroma[1, 1:-1], grid[0, 0] * np.arange(1, 15) + grid[0, 2])


def test_the_decoders_rgb_view_holds_chroma_as_if_centred() -> None:
    """Why the compositor writes chroma back centred: swscale repeats each sample over its block."""
    luma, blue = np.full((16, 32), 120, np.uint8), np.full((8, 16), 128, np.uint8)
    red = np.tile(80 + 6 * np.arange(16, dtype=np.uint8), (8, 1))
    stored = np.concatenate([plane.reshape(-1) for plane in (luma, blue, red)]).reshape(24, 32)
    view = av.VideoFrame.from_ndarray(stored, format="yuv420p").reformat(format="rgb24").to_ndarray()
    np.testing.assert_array_equal(view[:, 0::2], view[:, 1::2])
    assert (np.diff(view[8, ::2, 0].astype(int)) > 0).all()


@pytest.mark.parametrize("name", sorted(PIXEL_FORMATS))
def test_the_table_agrees_with_ffmpeg(name: str) -> None:
    ours, theirs = pixel_format(name), av.VideoFormat(name, 33, 21)
    assert len(ours.family) == len(theirs.components)
    assert {component.bits for component in theirs.components} == {ours.depth}
    frame = av.VideoFrame(33, 21, name)
    assert ours.plane_shapes(33, 21) == [(plane.height, plane.width) for plane in frame.planes]


def test_unknown_formats_and_matrices_are_input_errors() -> None:
    with pytest.raises(InputError, match="pal8"):
        pixel_format("pal8")
    with pytest.raises(InputError, match="ycgco"):
        rgb_to_planes(pixel_format("yuv420p"), ColorInfo("ycgco"))
