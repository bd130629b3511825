from __future__ import annotations

import weakref
from fractions import Fraction
from itertools import islice, pairwise

import av
import numpy as np
import pytest

from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.core.pixel_formats import PIXEL_FORMATS, pixel_format
from lipsync_cli.core.types import ColorInfo
from lipsync_cli.media import ping_pong as bounce
from lipsync_cli.media.color import RgbConverter
from lipsync_cli.media.pixels import doubled_chroma, nearest_supported, packed_rgb
from lipsync_cli.media.probe import probe
from lipsync_cli.media.video import open_frames
from tests.helpers.synthetic import make_video, run_ffmpeg, time_stamps
from tests.helpers.timing import bounce_index

MOVING = (
    "plain.mp4", "turned90.mp4", "vfr.mp4", "ntsc.mkv", "ten.mp4", "odd.mkv", "mjpeg.avi", "bt709.mp4", "full.mp4",
    "wide.mp4", "gray.mkv", "rgb.mov", "nv12.mkv", "vp9.webm", "opengop.ts", "one.mp4",
)  # fmt: skip


def frames_of(path, **options):
    with open_frames(probe(path), **options) as frames:
        return list(frames)


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


@pytest.mark.parametrize("name", MOVING)
def test_frames_have_the_files_own_times_and_contiguous_planes(clips, name):
    frames = frames_of(clips / name)
    stamps = time_stamps(clips / name)
    assert [float(frame.file_time) for frame in frames] == pytest.approx(stamps, abs=1e-9)
    assert [float(frame.time) for frame in frames] == pytest.approx([s - stamps[0] for s in stamps], abs=1e-9)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    for frame in frames[:2]:
        layout = pixel_format(frame.pix_fmt)
        height, width = frame.planes[0].shape
        assert tuple(plane.shape for plane in frame.planes) == layout.shapes(width, height)
        assert all(plane.flags.c_contiguous and plane.dtype == layout.dtype for plane in frame.planes)
        assert frame.rgb.flags.c_contiguous
        assert frame.rgb.shape == (height, width, 3)


@pytest.mark.parametrize(
    ("name", "pix_fmt"),
    [
        ("ten.mp4", "yuv420p10le"),
        ("full.mp4", "yuvj420p"),
        ("rgb.mov", "gbrp"),
        ("nv12.mkv", "yuv420p"),
        ("gray.mkv", "gray"),
    ],
)
def test_formats_are_native_or_the_nearest(clips, name, pix_fmt):
    assert frames_of(clips / name)[0].pix_fmt == pix_fmt


def test_nearest_formats_lose_neither_depth_nor_chroma():
    expected = {
        "p010le": "yuv420p10le", "rgba": "gbrp", "pal8": "gbrp", "rgb48be": "gbrp10le", "yuva444p": "yuv444p",
        "yuv411p": "yuv422p", "yuv410p": "yuv420p", "yuv440p": "yuv444p", "yuv422p9be": "yuv422p10le",
        "yuv420p16le": "yuv420p12le", "gray16be": "gray10le", "ya8": "gray", "yuyv422": "yuv422p", "monow": "gray",
    }  # fmt: skip
    assert {name: nearest_supported(name) for name in expected} == expected


def test_native_planes_equal_ffmpegs_own(clips, tmp_path):
    run_ffmpeg("-i", str(clips / "ten.mp4"), "-f", "rawvideo", str(tmp_path / "raw"))
    ours = b"".join(plane.tobytes() for frame in frames_of(clips / "ten.mp4") for plane in frame.planes)
    assert ours == (tmp_path / "raw").read_bytes()


@pytest.mark.parametrize("name", ["plain.mp4", "vfr.mp4", "opengop.ts", "ntsc.mkv", "bare.h264"])
@pytest.mark.parametrize(("start", "end"), [(0, "0.2"), ("0.33", "0.7"), ("0.5", None)])
def test_a_part_is_a_slice_of_the_whole(clips, name, start, end):
    whole = frames_of(clips / name)
    start, end = Fraction(start), None if end is None else Fraction(end)
    wanted = [f for f in whole if f.time >= start and (end is None or f.time < end)]
    part = frames_of(clips / name, start=start, end=end)
    assert [frame.pts for frame in part] == [frame.pts for frame in wanted]
    assert [frame.time for frame in part] == [frame.time - wanted[0].time for frame in wanted]
    assert all(same(a, b) for a, b in zip(part, wanted, strict=True))
    assert [frame.index for frame in part] == list(range(len(part)))


def test_impossible_parts_are_said(clips):
    with pytest.raises(UsageError, match="must come after"):
        open_frames(probe(clips / "plain.mp4"), start=Fraction(2), end=Fraction(1))
    with pytest.raises(InputError, match=r"lasts 0\.80 s"):
        frames_of(clips / "plain.mp4", start=Fraction(9))


@pytest.mark.parametrize("name", ["plain.mp4", "vfr.mp4", "opengop.ts", "bare.h264", "mjpeg.avi", "one.mp4"])
@pytest.mark.parametrize("span", [3, 32])
def test_bouncing_is_the_ping_pong_of_a_plain_reading(clips, monkeypatch, name, span):
    monkeypatch.setattr(bounce, "_MOST_FRAMES", span)
    whole = frames_of(clips / name)
    count = len(whole)
    length = Fraction(count * 3, 25) + 1
    longer = frames_of(clips / name, bounce_until=length)
    assert len(longer) > 2 * count
    assert [frame.index for frame in longer] == list(range(len(longer)))
    assert all(same(frame, whole[bounce_index(i, count)]) for i, frame in enumerate(longer))
    spacing = [later.pts - sooner.pts for sooner, later in pairwise(longer)]
    assert min(spacing) > 0
    for position, gap in enumerate(spacing if count > 1 else ()):
        here, there = whole[bounce_index(position, count)], whole[bounce_index(position + 1, count)]
        assert gap == abs(there.pts - here.pts)
    assert longer[0].time == 0 and longer[-1].time < length


def test_bouncing_a_part_stays_inside_it(clips):
    whole = frames_of(clips / "plain.mp4")
    part = frames_of(clips / "plain.mp4", start=Fraction(1, 5), end=Fraction(2, 5), bounce_until=Fraction(1))
    assert len(part) == 25
    assert all(same(frame, whole[5 + bounce_index(i, 5)]) for i, frame in enumerate(part))


def test_source_that_is_cut_delivers_what_lies_before_the_cut_and_counts_it(clips):
    for name in ("plain.mp4", "opengop.ts"):
        with open_frames(probe(clips / name), start=Fraction(1, 5), cut_at=Fraction(2, 5)) as source:
            assert [frame.time for frame in source] == [Fraction(i, 25) for i in range(10)]
        assert source.delivered == 10
    with open_frames(probe(clips / "still.png"), still_duration=Fraction(1), cut_at=Fraction(1, 5)) as source:
        assert (len(list(source)), source.delivered) == (5, 5)


def test_reading_holds_no_frames(clips):
    seen, most = [], 0
    with open_frames(probe(clips / "opengop.ts"), bounce_until=Fraction(8)) as frames:
        for frame in islice(frames, 200):
            seen.append(weakref.ref(frame.rgb))
            most = max(most, sum(ref() is not None for ref in seen))
            del frame
    assert most <= 3


def test_a_still_picture_stands_for_its_duration(clips):
    for name in ("still.png", "still.jpg"):
        frames = frames_of(clips / name, still_duration=Fraction(1, 2))
        assert [frame.pts for frame in frames] == list(range(13))
        assert frames[0].time_base == Fraction(1, 25)
        assert frames[0].pix_fmt == "yuv420p"
        with av.open(str(clips / name)) as container:
            shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
        # Flat inside the bars; chroma is halved at their edges.
        assert np.median(np.abs(frames[0].rgb.astype(int) - shown)) <= 3
    with pytest.raises(UsageError, match="still picture"):
        open_frames(probe(clips / "still.png"))


def test_a_truncated_tail_ends_with_a_warning(tmp_path):
    whole = make_video(tmp_path / "whole.mp4", frames=40, extra=("-movflags", "faststart"))
    data = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 2 // 3])
    with open_frames(probe(cut)) as frames:
        count = sum(1 for _ in frames)
        assert 10 < count < 40
        assert frames.warnings


def test_damaged_packets_are_skipped_and_counted(tmp_path):
    clip = make_video(tmp_path / "clip.mov", codec=("-c:v", "png"), pix_fmt="rgb24")
    with av.open(str(clip)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(clip.read_bytes())
    for position, size in (packets[5], packets[9]):
        data[position : position + size] = bytes(size)
    clip.write_bytes(data)
    with open_frames(probe(clip)) as frames:
        assert sum(1 for _ in frames) == 18
        assert frames.warnings == ("2 damaged packets of clip.mov were skipped.",)


def test_a_picture_that_changes_its_size_is_refused(tmp_path):
    one = make_video(tmp_path / "one.ts", frames=5)
    two = make_video(tmp_path / "two.ts", frames=5, size="80x48")
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(InputError, match="64×48 yuv420p to 80×48"):
        frames_of(both)


def test_measured_durations_include_the_last_frame(clips):
    for name, length in {"plain.mp4": Fraction(4, 5), "opengop.ts": Fraction(4), "bare.h264": Fraction(4, 5)}.items():
        assert probe(clips / name, measure="video").video.measured == length
        assert probe(clips / name).video.measured is None
    assert probe(clips / "still.png", measure="video").video.measured == 0


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p12le"])
@pytest.mark.parametrize("width", [64, 101])
def test_rgb_follows_matrix_and_range(matrix, full, pix_fmt, width):
    layout, height = PIXEL_FORMATS[pix_fmt], 36
    rng = np.random.default_rng(5)
    unit = 1 << (layout.depth - 8)
    luma = rng.integers(90 * unit, 120 * unit, (height, width))
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, shape, values in zip(
        frame.planes, layout.shapes(width, height), (luma, 90 * unit, 160 * unit), strict=True
    ):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows.view(layout.dtype)[:, : shape[1]] = np.broadcast_to(values, shape)
        plane.update(rows.tobytes())
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}[matrix]
    y = luma / (256 * unit - 1) if full else (luma / unit - 16) / 219
    cb, cr = ((v - 128) * unit / (256 * unit - 1) if full else (v - 128) / 224 for v in (90, 160))
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    expected = np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], -1) * 255
    rgb = RgbConverter(ColorInfo(matrix, full)).rgb(frame)
    assert np.abs(rgb - np.clip(expected, 0, 255)).max() <= 1.5  # rounding, and swscale's own idea of 12-bit white


def test_doubled_chroma_can_be_read_back_exactly():
    layout, rng = PIXEL_FORMATS["yuv420p"], np.random.default_rng(1)
    planes = tuple(rng.integers(0, 256, shape, dtype=np.uint8) for shape in layout.shapes(65, 49))
    grown = doubled_chroma(planes, layout)
    assert {plane.shape for plane in grown} == {(49, 65)}
    assert all(np.array_equal(big[::2, ::2], small) for big, small in zip(grown[1:], planes[1:], strict=True))


@pytest.mark.parametrize("name", [name for name, fmt in PIXEL_FORMATS.items() if fmt.planes == 3 and not fmt.is_rgb])
def test_the_rgb_view_is_swscales_own(name):
    # It is made by way of planes, which is quicker; packed pixels of the same conversion are the same.
    rng, fmt = np.random.default_rng(5), PIXEL_FORMATS[name]
    frame = av.VideoFrame(66, 50, name)
    for plane in frame.planes:
        codes = rng.integers(0, fmt.peak + 1, plane.buffer_size // np.dtype(fmt.dtype).itemsize)
        plane.update(codes.astype(fmt.dtype).tobytes())
    for color in (ColorInfo("bt709", False), ColorInfo("bt601", True)):
        converter = RgbConverter(color)
        packed = packed_rgb(converter.convert(frame, "rgb24", full_range=True))
        np.testing.assert_array_equal(converter.rgb(frame), packed)
