from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from lipsync_cli.errors import OutputError
from lipsync_cli.media.audio import duration_of
from lipsync_cli.media.encode import EncodeOptions
from lipsync_cli.media.mux import FrameSink
from lipsync_cli.media.probe import probe
from lipsync_cli.media.tracks import DubTrack, KeptTracks
from lipsync_cli.media.video import open_frames
from lipsync_cli.types import Frame
from tests.media.conftest import is_root
from tests.media.test_audio import speech
from tests.synthetic import make_video, run_ffmpeg

LOSSLESS = EncodeOptions(lossless=True, preset="ultrafast")
QUICK = EncodeOptions(preset="ultrafast")


def frames_of(path, **options) -> list[Frame]:
    with open_frames(probe(path), **options) as frames:
        return list(frames)


def write(source: Path, target: Path, *, part=None, **options) -> tuple[list[Frame], FrameSink]:
    info = probe(source)
    still = {"still_duration": Fraction(1, 5)} if info.video.is_still else {}
    frames = frames_of(source, **still, **(part or {}))
    with FrameSink(target, info, **options) as sink:
        for frame in frames:
            sink.write(frame)
    assert sink.frames_written == len(frames)
    assert not list(target.parent.glob("*.part"))
    return frames, sink


def planes_equal(one: list[Frame], other: list[Frame]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b) for f, g in zip(one, other, strict=True) for a, b in zip(f.planes, g.planes, strict=True)
    )


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
    assert [frame.time for frame in found] == [frame.time - frames[0].time for frame in frames]
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
    assert all(abs(a.time - frames[0].time - b.time) <= Fraction(1, 2000) for a, b in zip(frames, found, strict=True))
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
    ("tone", "suffix", "codec"),
    [
        ("aac.m4a", "mp4", "aac"), ("stereo.mp3", "mp4", "mp3"), ("surround.flac", "mp4", "flac"),
        ("s24.wav", "mov", "pcm_s24le"), ("u8.wav", "mkv", "pcm_u8"), ("aac.m4a", "mkv", "aac"),
        ("opus.ogg", "webm", "opus"), ("aac.m4a", "ts", "aac"),
    ],
)  # fmt: skip
def test_the_dub_is_copied_where_the_container_takes_it(each_ffmpeg, clips, tones, tmp_path, tone, suffix, codec):
    target = tmp_path / f"out.{suffix}"
    write(clips / "bt709.mp4", target, options=QUICK, dub=DubTrack(tones / tone, language="deu"))
    before, after = probe(tones / tone).audio[0], probe(target)
    assert after.audio[0].codec == codec
    assert (after.audio[0].sample_rate, after.audio[0].channels) == (before.sample_rate, before.channels)
    assert duration_of(target) == pytest.approx(float(duration_of(tones / tone)), abs=0.05)
    assert packets(target) == packets(tones / tone)
    assert suffix == "ts" or after.video.start < Fraction(1, 1000)


def packets(path: Path) -> bytes:
    """Contents of all audio packets, without the headers that MPEG-TS puts before each."""
    with av.open(str(path)) as container:
        header = 7 if container.format.name == "mpegts" else 0
        return b"".join(bytes(packet)[header:] for packet in container.demux(audio=0))


@pytest.mark.parametrize(
    ("tone", "suffix", "codec"),
    [
        ("s16.wav", "mp4", "aac"),
        ("u8.wav", "mp4", "aac"),
        ("s16.wav", "webm", "opus"),
        ("surround.flac", "webm", "opus"),
    ],
)
def test_else_it_is_encoded_in_sync(each_ffmpeg, clips, tones, tmp_path, tone, suffix, codec):
    target = tmp_path / f"out.{suffix}"
    write(clips / "bt709.mp4", target, options=QUICK, dub=DubTrack(tones / tone))
    info = probe(target)
    assert info.audio[0].codec == codec
    assert info.audio[0].channels == probe(tones / tone).audio[0].channels
    assert info.video.start < Fraction(1, 1000)
    assert onset(target) == pytest.approx(onset(tones / tone), abs=0.001)


def onset(path: Path) -> float:
    return float(np.argmax(np.abs(speech(path)) > 0.02)) / 16_000


def test_a_late_dub_stays_late_and_a_cut_one_is_cut_exactly(each_ffmpeg, clips, tones, tmp_path):
    target = tmp_path / "out.mp4"
    write(clips / "bt709.mp4", target, options=QUICK, dub=DubTrack(tones / "late.mp4"))
    assert onset(target) == pytest.approx(0.25, abs=0.001)
    cut = DubTrack(tones / "late.mp4", start=Fraction(1, 10), duration=Fraction(1, 2))
    write(clips / "bt709.mp4", target, options=QUICK, dub=cut)
    assert onset(target) == pytest.approx(0.15, abs=0.001)
    assert len(speech(target)) / 16_000 == pytest.approx(0.5, abs=0.03)


def test_a_copied_dub_ends_with_its_duration(each_ffmpeg, clips, tones, tmp_path):
    target = tmp_path / "out.mp4"
    write(clips / "bt709.mp4", target, options=QUICK, dub=DubTrack(tones / "aac.m4a", duration=Fraction(1, 2)))
    assert duration_of(target) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_other_tracks_are_kept_on_request(each_ffmpeg, tones, tmp_path, suffix):
    source = source_with_everything(tmp_path)
    target = tmp_path / f"out.{suffix}"
    kept = KeptTracks(source)
    _, sink = write(
        source, target, options=QUICK, dub=DubTrack(tones / "stereo.mp3"), kept=kept, tags={"comment": "dubbed"}
    )
    info = probe(target)
    assert [audio.sample_rate for audio in info.audio] == [44100, 48000]
    assert any(name.startswith("subtitle") for name in info.other_streams)
    assert info.chapters == 2
    metadata = {key.lower(): value for key, value in info.metadata.items()}
    assert (metadata["title"], metadata["comment"]) == ("A title", "dubbed")
    assert sink.warnings == ()
    with av.open(str(target)) as container:
        defaults = [bool(s.disposition & av.stream.Disposition.default) for s in container.streams.audio]
    assert defaults == [True, False]


def source_with_everything(folder: Path) -> Path:
    (folder / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,600\nHello\n")
    chapters = "".join(f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={t}\nEND={t + 400}\n" for t in (0, 400))
    (folder / "m.txt").write_text(f";FFMETADATA1\ntitle=A title\n{chapters}")
    path = folder / "all.mkv"
    run_ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.8", "-f", "lavfi", "-i", "sine=r=48000:d=0.8",
        "-i", str(folder / "s.srt"), "-i", str(folder / "m.txt"), "-map", "0", "-map", "1", "-map", "2",
        "-map_metadata", "3", "-map_chapters", "3", "-c:v", "libx264", "-c:a", "aac", "-c:s", "srt", str(path),
    )  # fmt: skip
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_kept_audio_stays_with_its_part_of_the_picture(each_ffmpeg, tmp_path, suffix):
    # Picture from 0.2 s on, a tone from 1.0 s on: 0.8 s after the first frame, 0.4 s after the part's first frame.
    source, target = tmp_path / "late.mkv", tmp_path / f"out.{suffix}"
    run_ffmpeg(
        "-itsoffset", "0.2", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=2", "-f", "lavfi",
        "-i", "sine=f=440:r=48000:d=1,volume=2,adelay=1000", "-c:v", "libx264", "-c:a", "flac", str(source),
    )  # fmt: skip
    part = {"start": Fraction(2, 5), "end": Fraction(6, 5)}
    kept = KeptTracks(source, start=part["start"], duration=Fraction(4, 5))
    write(source, target, part=part, options=QUICK, kept=kept)
    assert probe(target).video.frames in (20, None)
    assert onset(target) == pytest.approx(0.4, abs=0.002)


def test_without_that_only_harmless_metadata_goes_along(each_ffmpeg, tmp_path):
    source = source_with_everything(tmp_path)
    write(source, tmp_path / "out.mp4", options=QUICK, tags={"lipsync_model": "x1", "comment": "made by lipsync"})
    info = probe(tmp_path / "out.mp4")
    assert (info.metadata["title"], info.metadata["lipsync_model"]) == ("A title", "x1")
    assert info.metadata["comment"] == "made by lipsync"
    assert (info.audio, info.chapters) == ((), 0)


@pytest.mark.parametrize(
    "name", ["with space.mp4", "quote's \".mp4", "-dash.mp4", "ünïcode 声.mp4", "100%d.mp4", "a:b.mp4"]
)
def test_any_name_is_only_a_name(clips, tones, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    dub = tmp_path / f"dub {name}.wav"
    shutil.copy(tones / "s16.wav", dub)
    write(clips / "one.mp4", Path(name), options=QUICK, dub=DubTrack(dub))
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
        FrameSink(tmp_path / "out.mp4", info, options=QUICK, dub=DubTrack(tones / "s16.wav")) as sink,
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


def test_a_full_disk_is_said(each_ffmpeg, clips, tmp_path):
    mount, umount = shutil.which("mount", path="/bin:/usr/bin"), shutil.which("umount", path="/bin:/usr/bin")
    if not (is_root() and mount and umount and sys.platform == "linux"):
        pytest.skip("needs root on Linux to mount a tiny disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        noise = make_video(tmp_path / "noise.mkv", frames=40, filters="noise=alls=90:allf=t", codec=("-c:v", "ffv1"))
        for name in ("out.mp4", "out.mkv"):
            with pytest.raises(OutputError, match="disk is full"):
                write(noise, disk / name, options=LOSSLESS)
            assert list(disk.iterdir()) == []
    finally:
        subprocess.run([umount, "-l", str(disk)], check=False)


def test_a_long_source_goes_through_in_constant_memory(clips, tmp_path):
    info = probe(clips / "opengop.ts")
    with (
        open_frames(info, bounce_until=Fraction(20), with_rgb=False) as frames,
        FrameSink(tmp_path / "out.mp4", info, options=QUICK) as sink,
    ):
        for frame in islice(frames, 500):
            sink.write(frame)
    assert probe(tmp_path / "out.mp4").video.frames == 500
