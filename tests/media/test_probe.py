from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lipsync_cli.core.errors import InputError
from lipsync_cli.media.probe import probe, require_audio, require_video
from lipsync_cli.media.video import open_frames
from tests.helpers.synthetic import make_video, run_ffmpeg
from tests.media.conftest import is_root


def test_a_plain_clip(clips):
    info = probe(clips / "plain.mp4")
    video = require_video(info)
    assert (video.codec, video.width, video.height, video.pix_fmt, video.bit_depth) == ("h264", 64, 48, "yuv420p", 8)
    assert (video.rate, video.start, video.frames, video.rotation) == (25, 0, 20, 0)
    assert video.duration == Fraction(20, 25)
    assert (require_audio(info).codec, require_audio(info).sample_rate) == ("aac", 44100)


def test_exact_rates_depth_and_shape(clips):
    assert probe(clips / "ntsc.mkv").video.rate == Fraction(30000, 1001)
    assert probe(clips / "ten.mp4").video.bit_depth == 10
    assert probe(clips / "wide.mp4").video.sample_aspect_ratio == Fraction(16, 11)
    odd = probe(clips / "odd.mkv").video
    assert (odd.width, odd.height) == (65, 49)


MEASURED = (
    "plain.mp4", "vfr.mp4", "ntsc.mkv", "odd.mkv", "mjpeg.avi", "rgb.mov", "vp9.webm", "opengop.ts", "bare.h264",
    "one.mp4", "still.png",
)  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_measuring_opens_once_and_changes_nothing_else(clips, name, monkeypatch):
    opened = []
    really_open = av.open
    plain = probe(clips / name)
    monkeypatch.setattr(av, "open", lambda *args, **options: opened.append(args) or really_open(*args, **options))
    measured = probe(clips / name, measure="video")
    assert len(opened) == 1
    assert replace(measured, video=replace(measured.video, measured=None)) == plain
    with open_frames(plain, still_duration=Fraction(0) if plain.video.is_still else None) as frames:
        ends = [frame.time + 1 / plain.video.rate for frame in frames]
    assert float(measured.video.measured) == pytest.approx(float(max(ends, default=0)), abs=0.002)
    sound = probe(clips / name, measure="audio")
    assert replace(sound, audio=plain.audio) == plain


def test_colours(clips):
    untagged, tagged = probe(clips / "plain.mp4").video.color, probe(clips / "bt709.mp4").video.color
    assert (untagged.matrix, untagged.full_range, untagged.tag_matrix) == ("bt601", False, None)
    assert (tagged.matrix, tagged.full_range) == ("bt709", False)
    assert (tagged.tag_matrix, tagged.tag_primaries, tagged.tag_transfer, tagged.tag_range) == (
        "bt709", "bt709", "bt709", "tv",
    )  # fmt: skip
    assert probe(clips / "full.mp4").video.color.full_range
    assert probe(clips / "rgb.mov").video.color.matrix == "rgb"


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_what_brings_the_picture_upright(clips, tmp_path, degrees):
    turned = clips / f"turned{degrees}.mp4"
    assert probe(turned).video.rotation == degrees
    # ffmpeg turns pictures upright by itself, which settles the sign.
    run_ffmpeg("-i", str(turned), "-frames:v", "1", str(tmp_path / "upright.png"))
    with av.open(str(tmp_path / "upright.png")) as container:
        upright = next(container.decode(video=0)).to_ndarray(format="rgb24")
    with open_frames(probe(turned)) as frames:
        ours = np.rot90(next(frames).rgb, k=-degrees // 90)
    assert ours.shape == upright.shape
    assert np.abs(ours.astype(int) - upright).mean() < 8


def test_cover_art_is_not_video(clips, tones, tmp_path):
    song = tmp_path / "song.m4a"
    run_ffmpeg(
        "-i", str(tones / "aac.m4a"), "-i", str(clips / "still.png"), "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v:0", "attached_pic", str(song),
    )  # fmt: skip
    info = probe(song)
    assert info.video is None
    assert [str(stream) for stream in info.other_streams] == ["cover art (png)"]
    with pytest.raises(InputError, match=r"no video stream, only audio \(aac\)"):
        require_video(info)


def test_stills(clips):
    for name in ("still.png", "still.jpg"):
        video = probe(clips / name).video
        assert video.is_still
        assert (video.rate, video.time_base) == (25, Fraction(1, 25))


def test_no_audio_is_said(clips):
    with pytest.raises(InputError, match=r"no audio stream, only video \(h264\)"):
        require_audio(probe(clips / "vfr.mp4"))


def test_bad_inputs_are_one_sentence_each(clips, tmp_path):
    text, empty, cut = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "cut.mp4"
    text.write_text("This is not a video.\n" * 50)
    empty.touch()
    whole = make_video(tmp_path / "whole.mp4").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    expected = {
        tmp_path / "missing.mp4": "does not exist",
        tmp_path: "is a folder",
        empty: "is empty",
        text: "not a video or audio file",
        cut: "incomplete",
    }
    for path, words in expected.items():
        with pytest.raises(InputError, match=words) as caught:
            probe(path)
        assert "\n" not in caught.value.message
        assert caught.value.hint


@pytest.mark.skipif(is_root(), reason="root may read everything")
def test_an_unreadable_file_is_said(clips, tmp_path):
    path = tmp_path / "secret.mp4"
    path.write_bytes((clips / "plain.mp4").read_bytes())
    path.chmod(0)
    with pytest.raises(InputError, match="may not be read"):
        probe(path)


@pytest.mark.parametrize(
    "name", ["with space.mp4", "quote's \".mp4", "-dash.mp4", "ünïcode 声.mp4", "100%d.mp4", "a:b.mp4"]
)
def test_any_name_is_only_a_name(clips, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((clips / "plain.mp4").read_bytes())
    assert probe(path).video.frames == 20


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=40))
@example([(13259, 1)])  # sound of a codec that nobody knows
def test_damaged_files_raise_nothing_but_our_errors(clips, tmp_path, damage):
    data = bytearray((clips / "plain.mp4").read_bytes())
    for position, value in damage:
        data[position % len(data)] = value
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    try:
        info = probe(path)
        if info.video is not None and info.video.width * info.video.height < 10**6:
            with open_frames(info) as frames:
                for index, _ in enumerate(frames):
                    if index > 100:
                        break
    except InputError:
        pass
