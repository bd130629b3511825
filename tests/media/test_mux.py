from __future__ import annotations

import os
import shutil
import signal
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.core.errors import OutputError
from lipsync_cli.media.encode import EncodeOptions
from lipsync_cli.media.mux import FrameSink
from lipsync_cli.media.probe import probe
from lipsync_cli.media.tracks import DubTrack
from lipsync_cli.media.video import open_frames
from tests.helpers.synthetic import make_video
from tests.helpers.written import LOSSLESS, QUICK, frames_of, planes_equal, write

SOURCES = (
    "plain.mp4", "turned90.mp4", "turned180.mp4", "turned270.mp4", "vfr.mp4", "ntsc.mkv", "ten.mp4", "mjpeg.avi",
    "bt709.mp4", "full.mp4", "wide.mp4", "rgb.mov", "vp9.webm", "opengop.ts", "bare.h264", "still.png", "one.mp4",
)  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_a_lossless_mp4_keeps_everything(each_ffmpeg, clips, tmp_path, name):
    target = tmp_path / "out.mp4"
    frames, sink = write(clips / name, target, options=LOSSLESS)
    before, after = probe(clips / name).video, probe(target).video
    found = frames_of(target)
    assert planes_equal(frames, found)
    assert [frame.time for frame in found] == [frame.time for frame in frames]
    assert (after.rotation, after.sample_aspect_ratio) == (before.rotation, before.sample_aspect_ratio)
    assert (after.color.matrix, after.color.full_range) == (before.color.matrix, before.color.full_range)
    assert (after.color.tag_primaries, after.color.tag_transfer) == (
        before.color.tag_primaries,
        before.color.tag_transfer,
    )
    assert sink.warnings == ()


@pytest.mark.parametrize("name", ["vfr.mp4", "odd.mkv", "gray.mkv", "rgb.mov", "ten.mp4", "bt709.mp4", "wide.mp4"])
def test_ffv1_in_matroska_is_bit_exact_to_the_millisecond(each_ffmpeg, clips, tmp_path, name):
    target = tmp_path / "out.mkv"
    frames, _ = write(clips / name, target, options=EncodeOptions(codec="ffv1"))
    found = frames_of(target)
    assert planes_equal(frames, found)
    assert all(abs(a.time - b.time) <= Fraction(1, 2000) for a, b in zip(frames, found, strict=True))
    before, after = probe(clips / name).video.color, probe(target).video.color
    assert (after.matrix, after.full_range) == (before.matrix, before.full_range)


def test_odd_sizes_keep_every_pixel(each_ffmpeg, clips, tmp_path):
    frames, sink = write(clips / "odd.mkv", tmp_path / "out.mp4", options=LOSSLESS)
    found = frames_of(tmp_path / "out.mp4")
    assert "odd" in sink.warnings[0]
    for frame, other in zip(frames, found, strict=True):
        assert np.array_equal(frame.planes[0], other.planes[0])
        assert all(np.array_equal(a, b[::2, ::2]) for a, b in zip(frame.planes[1:], other.planes[1:], strict=True))


def test_vp9_keeps_odd_sizes_as_they_are(each_ffmpeg, clips, tmp_path):
    options = EncodeOptions(lossless=True, preset="ultrafast")
    frames, sink = write(clips / "odd.mkv", tmp_path / "out.webm", options=options)
    assert planes_equal(frames, frames_of(tmp_path / "out.webm"))
    assert sink.warnings == ()


def test_x265_if_there(each_ffmpeg, clips, tmp_path):
    if "libx265" not in each_ffmpeg.encoders:
        pytest.skip("no libx265")
    options = EncodeOptions(codec="libx265", lossless=True, preset="ultrafast")
    frames, _ = write(clips / "vfr.mp4", tmp_path / "out.mp4", options=options)
    found = frames_of(tmp_path / "out.mp4")
    assert planes_equal(frames, found)
    assert [frame.time for frame in found] == [frame.time for frame in frames]


@pytest.mark.parametrize(
    "name", ["with space.mp4", "quote's \".mp4", "-dash.mp4", "ünïcode 声.mp4", "100%d.mp4", "a:b.mp4"]
)
def test_any_name_is_only_a_name(clips, tones, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    dub = tmp_path / f"dub {name}.wav"
    shutil.copy(tones / "s16.wav", dub)
    write(clips / "one.mp4", Path(name), options=QUICK, dub=DubTrack(probe(dub)))
    assert probe(tmp_path / name).video.frames == 1


def test_an_error_or_interrupt_leaves_nothing(each_ffmpeg, clips, tmp_path):
    for error in (ValueError, KeyboardInterrupt):
        with (
            pytest.raises(error),
            open_frames(probe(clips / "plain.mp4")) as frames,
            FrameSink(tmp_path / "out.mp4", probe(clips / "plain.mp4"), options=QUICK) as sink,
        ):
            sink.write(next(frames))
            raise error
    assert list(tmp_path.iterdir()) == []


def test_no_frame_is_no_output(clips, tmp_path):
    with pytest.raises(OutputError, match="no frame"), FrameSink(tmp_path / "out.mp4", probe(clips / "plain.mp4")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_ffmpeg_is_an_error_and_no_hang(each_ffmpeg, clips, tones, tmp_path):
    info = probe(clips / "plain.mp4")
    with (
        pytest.raises(OutputError, match="killed"),
        open_frames(info, bounce_until=Fraction(100)) as frames,
        FrameSink(tmp_path / "out.mp4", info, options=QUICK, dub=DubTrack(probe(tones / "s16.wav"))) as sink,
    ):
        for frame in frames:
            if frame.index == 30:
                os.kill(sink.pid, signal.SIGKILL)
            sink.write(frame)
    assert list(tmp_path.iterdir()) == []


def test_wrong_frames_are_bugs_and_said(clips, tmp_path):
    small, deep = frames_of(clips / "plain.mp4")[0], frames_of(clips / "ten.mp4")[0]
    with (
        pytest.raises(ValueError, match="expected yuv420p10le"),
        FrameSink(tmp_path / "o.mp4", probe(clips / "ten.mp4")) as s,
    ):
        s.write(small)
    with (
        pytest.raises(ValueError, match="expected yuv420p planes"),
        FrameSink(tmp_path / "o.mp4", probe(clips / "plain.mp4")) as s,
    ):
        s.write(deep)


def test_a_full_disk_is_said(each_ffmpeg, tiny_disk, tmp_path):
    noise = make_video(tmp_path / "noise.mkv", frames=40, filters="noise=alls=90:allf=t", codec=("-c:v", "ffv1"))
    for name in ("out.mp4", "out.mkv"):
        with pytest.raises(OutputError, match="disk is full"):
            write(noise, tiny_disk / name, options=LOSSLESS)
        assert list(tiny_disk.iterdir()) == []


def test_a_long_source_goes_through_in_constant_memory(clips, tmp_path):
    info = probe(clips / "opengop.ts")
    with (
        open_frames(info, bounce_until=Fraction(20), with_rgb=False) as frames,
        FrameSink(tmp_path / "out.mp4", info, options=QUICK) as sink,
    ):
        for frame in islice(frames, 500):
            sink.write(frame)
    assert probe(tmp_path / "out.mp4").video.frames == 500
