"""The tracks beside the picture: the dub, and what is kept of the source."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lipsync_cli.media.audio import duration_of
from lipsync_cli.media.probe import probe
from lipsync_cli.media.tracks import DubTrack, SourceTracks
from tests.helpers.synthetic import run_ffmpeg
from tests.helpers.written import QUICK, write
from tests.media.test_audio import speech


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
    write(clips / "bt709.mp4", target, options=QUICK, dub=DubTrack(probe(tones / tone), language="deu"))
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
    write(clips / "bt709.mp4", target, options=QUICK, dub=DubTrack(probe(tones / tone)))
    info = probe(target)
    assert info.audio[0].codec == codec
    assert info.audio[0].channels == probe(tones / tone).audio[0].channels
    assert info.video.start < Fraction(1, 1000)
    assert onset(target) == pytest.approx(onset(tones / tone), abs=0.001)


def onset(path: Path) -> float:
    return float(np.argmax(np.abs(speech(path)) > 0.02)) / 16_000


def test_a_late_dub_stays_late_and_a_cut_one_is_cut_exactly(each_ffmpeg, clips, tones, tmp_path):
    target = tmp_path / "out.mp4"
    write(clips / "bt709.mp4", target, options=QUICK, dub=DubTrack(probe(tones / "late.mp4")))
    assert onset(target) == pytest.approx(0.25, abs=0.001)
    cut = DubTrack(probe(tones / "late.mp4"), start=Fraction(1, 10), duration=Fraction(1, 2))
    write(clips / "bt709.mp4", target, options=QUICK, dub=cut)
    assert onset(target) == pytest.approx(0.15, abs=0.001)
    assert len(speech(target)) / 16_000 == pytest.approx(0.5, abs=0.03)


def test_a_copied_dub_ends_with_its_duration(each_ffmpeg, clips, tones, tmp_path):
    target = tmp_path / "out.mp4"
    write(clips / "bt709.mp4", target, options=QUICK, dub=DubTrack(probe(tones / "aac.m4a"), duration=Fraction(1, 2)))
    assert duration_of(target) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_other_tracks_are_kept_on_request(each_ffmpeg, tones, tmp_path, suffix):
    source = source_with_everything(tmp_path)
    target = tmp_path / f"out.{suffix}"
    dub, tracks = DubTrack(probe(tones / "stereo.mp3")), SourceTracks(probe(source))
    _, sink = write(source, target, options=QUICK, dub=dub, tracks=tracks, tags={"comment": "dubbed"})
    info = probe(target)
    assert [audio.sample_rate for audio in info.audio] == [44100, 48000]
    assert any(stream.kind == "subtitle" for stream in info.other_streams)
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
    tracks = SourceTracks(probe(source), start=part["start"], duration=Fraction(4, 5))
    write(source, target, part=part, options=QUICK, tracks=tracks)
    assert probe(target).video.frames in (20, None)
    assert onset(target) == pytest.approx(0.4, abs=0.002)


def test_without_that_only_harmless_metadata_goes_along(each_ffmpeg, tmp_path):
    source = source_with_everything(tmp_path)
    write(source, tmp_path / "out.mp4", options=QUICK, tags={"lipsync_model": "x1", "comment": "made by lipsync"})
    info = probe(tmp_path / "out.mp4")
    assert (info.metadata["title"], info.metadata["lipsync_model"]) == ("A title", "x1")
    assert info.metadata["comment"] == "made by lipsync"
    assert (info.audio, info.chapters) == ((), 0)
