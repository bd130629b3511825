"""Known code values, parity with swscale, and chroma sample positions."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from lipsync_cli.compositing.colorspace import chroma_siting, rgb_to_planes
from lipsync_cli.core.errors import InputError
from lipsync_cli.core.pixel_formats import PIXEL_FORMATS, pixel_format
from lipsync_cli.core.types import ColorInfo, Plane
from lipsync_cli.media.color import RgbConverter
from tests.helpers.composite_scenes import codes_of, planes_from_rgb, smooth_rgb, subsample

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
        ("gray", BT709, WHITE, [235]),
        ("gray", ColorInfo("bt709", full_range=True), WHITE, [255]),
        ("gray10le", ColorInfo("bt709", full_range=True), GREEN, [732]),
        ("gbrp", ColorInfo("rgb"), RED, [0, 0, 255]),
        ("gbrp10le", ColorInfo("rgb"), GREEN, [1023, 0, 0]),
    ],
)
def test_code_values_are_the_known_ones(
    name: str, color: ColorInfo, rgb: tuple[int, int, int], expected: list[int]
) -> None:
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
def test_code_values_agree_with_swscale(name: str, full: bool, matrix: str) -> None:
    rgb = np.rint(smooth_rgb(64, 48) * 255).astype(np.uint8)
    color = ColorInfo(matrix, full_range=full)
    fmt = pixel_format(name)
    ours = planes_from_rgb(rgb / np.float32(255), fmt, color)
    for mine, theirs in zip(ours, swscale(rgb, name, color), strict=True):
        difference = np.abs(mine.astype(int) - theirs.astype(int)) / (1 << (fmt.depth - 8))
        assert difference.max() <= 2
        assert difference.mean() < 0.75


def test_code_values_of_gray_agree_with_swscale() -> None:
    rgb = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="gray")
    (ours,) = planes_from_rgb(rgb / np.float32(255), pixel_format("gray"), ColorInfo("bt709", full_range=True))
    assert np.abs(ours.astype(int) - frame.to_ndarray().astype(int)).max() <= 1


@pytest.mark.parametrize(("siting", "position"), [("center", 0.5), ("left", 0.0)])
def test_chroma_samples_belong_to_their_position(siting: str, position: float) -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32), (8, 1))
    chroma = subsample(ramp, (1, 1), siting)  # type: ignore[arg-type]
    grid = pixel_format("yuv420p").to_luma(1, siting)  # type: ignore[arg-type]
    assert grid[0, 2] == position
    assert chroma.shape == (4, 16)
    np.testing.assert_allclose(chroma[1, 1:-1], grid[0, 0] * np.arange(1, 15) + grid[0, 2])


@pytest.mark.skipif(av.library_versions["libswscale"] < (9,), reason="older swscale ignores the declared location")
@pytest.mark.parametrize(
    ("encoder", "container", "options"),
    [("libx264", "mp4", {"qp": "0"}), ("mpeg4", "mp4", {"qscale": "1"}), ("ffv1", "matroska", {})],
)
def test_chroma_sits_where_the_decoders_rgb_view_has_it(
    encoder: str, container: str, options: dict[str, str]
) -> None:
    """A ramp in red chroma: the view's colour at each column tells which position its samples were given."""
    luma, blue = np.full((64, 64), 120, np.uint8), np.full((32, 32), 128, np.uint8)
    red = np.tile(64 + 4 * np.arange(32, dtype=np.uint8), (32, 1))
    stored = np.concatenate([plane.reshape(-1) for plane in (luma, blue, red)]).reshape(96, 64)
    frame = first_frame(stored, encoder, container, options)
    view = RgbConverter(BT709).convert(frame, "rgb24", full_range=True).to_ndarray()
    seen = codes_of(view / 255, pixel_format("yuv444p"), BT709)[2][32, 8:-8]
    siting = chroma_siting(frame_codec(encoder))
    expected = 64 + 4 * (np.arange(8, 56) - pixel_format("yuv420p").to_luma(2, siting)[0, 2]) / 2
    assert abs(float((seen - expected).mean())) < 0.3


def frame_codec(encoder: str) -> str:
    return {"libx264": "h264"}.get(encoder, encoder)


def first_frame(stored: np.ndarray, encoder: str, container: str, options: dict[str, str]) -> av.VideoFrame:
    """A yuv420p picture after a trip through an encoder and its decoder."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="yuv420p")))
        out.mux(stream.encode())
    with av.open(io.BytesIO(buffer.getvalue())) as back:
        return next(back.decode(video=0))


@pytest.mark.parametrize("name", sorted(PIXEL_FORMATS))
@pytest.mark.parametrize("full", [False, True])
def test_code_values_undo_what_the_decoder_shows(name: str, full: bool) -> None:
    """Planes → the decoder's RGB view → planes, for every format that frames are delivered in."""
    fmt = pixel_format(name)
    color = (
        ColorInfo("rgb", full_range=True)
        if fmt.family == "gbr"
        else ColorInfo("bt709", full_range=full or fmt.full_range)
    )
    rgb = smooth_rgb(64, 48)
    if fmt.family == "y":
        rgb = np.repeat(rgb[..., :1], 3, axis=2)
    planes = planes_from_rgb(rgb, fmt, color)
    frame = av.VideoFrame(64, 48, name)
    for target, plane in zip(frame.planes, planes, strict=True):
        padded = np.zeros((target.height, target.line_size // plane.itemsize), plane.dtype)
        padded[:, : target.width] = plane
        target.update(padded.tobytes())
    again = planes_from_rgb(RgbConverter(color).rgb(frame) / np.float32(255), fmt, color)
    for before, after in zip(planes, again, strict=True):
        difference = (after.astype(float) - before)[4:-4, 4:-4] / (1 << (fmt.depth - 8))
        assert np.abs(difference).max() <= 2
        # More than 8 bits: swscale truncates, and takes full range to end at 255 · 2ⁿ instead of 2ⁿ⁺⁸ − 1.
        assert abs(difference.mean()) < (0.15 if fmt.depth == 8 else 0.8)


def test_colour_matrix_that_is_unknown_is_an_input_error() -> None:
    with pytest.raises(InputError, match="ycgco"):
        rgb_to_planes(pixel_format("yuv420p"), ColorInfo("ycgco"))
