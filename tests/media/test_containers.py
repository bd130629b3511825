"""What every container promises, for every row of the table; a row that a test adds is as good as any other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from lipsync_cli.core.errors import UsageError
from lipsync_cli.media import containers
from lipsync_cli.media.audio import duration_of
from lipsync_cli.media.containers import CONTAINERS, Container, container_for, container_names, container_of_suffix
from lipsync_cli.media.encode import EncodeOptions
from lipsync_cli.media.mux import FrameSink
from lipsync_cli.media.probe import probe
from lipsync_cli.media.tracks import DubTrack
from tests.helpers.synthetic import has_encoder
from tests.helpers.written import QUICK, frames_of, write

ADDED = Container("nut", (".nut",), "nut", ("ffv1", "mpeg4"), frozenset({"pcm_s16le"}), "pcm_s16le", streamable=True)
"""A container that this package does not know."""
TONES = {
    "pcm_s16le": "s16.wav", "pcm_s24le": "s24.wav", "aac": "aac.m4a", "mp3": "stereo.mp3", "flac": "surround.flac",
    "opus": "opus.ogg",
}  # fmt: skip
CODECS = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1", "libvpx-vp9": "vp9", "prores_ks": "prores"}
MILLISECOND = Fraction(1, 1000)


@pytest.fixture(params=[*CONTAINERS, ADDED], ids=lambda container: container.name)
def container(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Container:
    """Each container in turn, the added one by nothing but its row in the table."""
    monkeypatch.setattr(containers, "CONTAINERS", (*CONTAINERS, ADDED))
    return request.param


@contextmanager
def stdout_to(path: Path) -> Iterator[None]:
    """What is written to this process's standard output goes to a file meanwhile."""
    saved = os.dup(1)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


class TestEveryContainer:
    def test_container_is_found_by_its_name_and_its_suffixes(self, container):
        assert container_for("x", container.name) is container
        for suffix in container.suffixes:
            assert container_for(f"a/B{suffix.upper()}") is container_of_suffix(suffix) is container

    def test_container_holds_all_frames_at_their_times_beside_the_sound(self, clips, tones, tmp_path, container):
        target = tmp_path / f"out{container.suffixes[0]}"
        frames, sink = write(clips / "plain.mp4", target, options=QUICK, dub=DubTrack(probe(tones / "s16.wav")))
        found, info = frames_of(target), probe(target)
        assert len(found) == sink.frames_written == len(frames)
        assert all(abs(a.time - b.time) <= MILLISECOND for a, b in zip(frames, found, strict=True))
        assert info.video.codec == CODECS.get(container.video[0], container.video[0])
        assert (info.video.width, info.video.height, info.video.rate) == (64, 48, 25)
        (sound,) = info.audio
        assert sound.codec in {*container.audio, container.audio_encoder.removeprefix("lib")}
        assert (sound.sample_rate, sound.channels, info.other_streams) == (48_000, 1, ())
        assert duration_of(target) == pytest.approx(1, abs=0.05)

    def test_container_keeps_uneven_times_or_says_that_it_cannot(self, clips, tmp_path, container):
        target = tmp_path / f"out{container.suffixes[0]}"
        frames, sink = write(clips / "vfr.mp4", target, options=QUICK)
        times = [frame.time for frame in frames_of(target)]
        if container.variable_rate:
            assert all(abs(a.time - b) <= MILLISECOND for a, b in zip(frames, times, strict=True))
            assert sink.warnings == ()
        else:
            assert len(times) == len(frames) and len({b - a for a, b in pairwise(times)}) == 1
            assert "one frame rate" in sink.warnings[0]

    def test_container_takes_every_encoder_of_its_row(self, clips, tmp_path, container):
        part = {"end": Fraction(1, 5)}
        for encoder in filter(has_encoder, container.video):
            target = tmp_path / f"{encoder}{container.suffixes[-1]}"
            write(clips / "plain.mp4", target, part=part, options=EncodeOptions(encoder, preset="ultrafast"))
            assert probe(target).video.codec == CODECS.get(encoder, encoder)
            assert len(frames_of(target)) == 5

    def test_container_copies_the_audio_of_its_row(self, clips, tones, tmp_path, container):
        for codec in sorted(container.audio & TONES.keys()):
            target = tmp_path / f"{codec}{container.suffixes[0]}"
            write(clips / "bt709.mp4", target, options=QUICK, dub=DubTrack(probe(tones / TONES[codec])))
            assert probe(target).audio[0].codec == codec

    def test_container_keeps_a_rotation_or_says_that_it_cannot(self, clips, tmp_path, container):
        target = tmp_path / f"out{container.suffixes[0]}"
        _, sink = write(clips / "turned90.mp4", target, options=QUICK)
        lost = any("rotation of 90°" in warning for warning in sink.warnings)
        assert probe(target).video.rotation == (0 if lost else 90)
        assert container.rotation or lost

    def test_container_goes_to_a_pipe_or_is_refused_there(self, clips, tones, tmp_path, container):
        if not container.streamable:
            with pytest.raises(UsageError, match="cannot be streamed"):
                container_for("-", container.name)
            return
        info, options = probe(clips / "plain.mp4"), EncodeOptions(preset="ultrafast", low_latency=True)
        dub = DubTrack(probe(tones / "s16.wav"))
        with (
            stdout_to(tmp_path / "piped"),
            FrameSink("-", info, dub=dub, options=options, container=container_for("-", container.name)) as sink,
        ):
            for frame in frames_of(clips / "plain.mp4"):
                sink.write(frame)
        assert len(frames_of(tmp_path / "piped")) == sink.frames_written == 20
        assert len(probe(tmp_path / "piped").audio) == 1


def test_container_of_an_unknown_name_or_suffix_is_refused_with_those_that_are_known():
    for target, name in (("x.xyz", None), ("x", None), ("-", "avi"), ("x.mp4", "flv")):
        with pytest.raises(UsageError) as caught:
            container_for(target, name)
        assert "mp4" in caught.value.hint
    assert container_for("-").name == container_names(streamable=True)[0] == "mp4"


def test_container_options_of_one_name_add_up():
    assert container_for("x.mp4").muxer_options(["title"]) == {"strict": "-2", "movflags": "faststart"}
    flags = container_for("x.mp4").muxer_options(["title", "lipsync"], live=True)["movflags"].split("+")
    assert flags == ["frag_keyframe", "delay_moov", "default_base_moof", "use_metadata_tags"]
