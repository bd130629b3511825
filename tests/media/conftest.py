"""Clips that are made once, and both executables: the one on PATH and the one that imageio-ffmpeg carries."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.media.ffmpeg import Ffmpeg, find_ffmpeg
from tests.helpers.synthetic import H264, make_rotated, make_tone, make_vfr, make_video, run_ffmpeg
from tests.helpers.threads import no_thread_left

LONG_GROUPS = ("-c:v", "libx264", "-g", "40", "-x264-params", "open-gop=1:scenecut=0:bframes=3")


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """A folder of tiny clips; the makers' names say what each is for."""
    folder = tmp_path_factory.mktemp("clips")
    plain = make_video(folder / "plain.mp4", audio="aac")
    for degrees in (90, 180, 270):
        make_rotated(folder / f"turned{degrees}.mp4", degrees, plain)
    make_vfr(folder / "vfr.mp4")
    make_video(folder / "ntsc.mkv", rate="30000/1001")
    make_video(folder / "ten.mp4", pix_fmt="yuv420p10le")
    make_video(folder / "odd.mkv", size="65x49", codec=("-c:v", "ffv1"))
    make_video(folder / "mjpeg.avi", pix_fmt="yuvj420p", codec=("-c:v", "mjpeg"))
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    tagged = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
    make_video(folder / "bt709.mp4", filters=tags, extra=tagged)
    make_video(folder / "full.mp4", pix_fmt="yuvj420p")
    make_video(folder / "wide.mp4", filters="setsar=16/11")
    make_video(folder / "gray.mkv", pix_fmt="gray", codec=("-c:v", "ffv1"))
    make_video(folder / "rgb.mov", pix_fmt="rgb24", codec=("-c:v", "png"))
    make_video(folder / "nv12.mkv", pix_fmt="nv12", codec=("-c:v", "rawvideo"))
    make_video(folder / "vp9.webm", codec=("-c:v", "libvpx-vp9", "-cpu-used", "8"))
    make_video(folder / "opengop.ts", frames=100, codec=LONG_GROUPS, audio="aac")
    make_video(folder / "bare.h264")
    make_video(folder / "one.mp4", frames=1)
    for name in ("still.png", "still.jpg"):
        run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", "1", str(folder / name))
    return folder


@pytest.fixture(scope="session")
def tones(tmp_path_factory) -> Path:
    """A folder of one-second 440 Hz tones in many formats, all a quarter of full scale."""
    folder = tmp_path_factory.mktemp("tones")
    make_tone(folder / "s16.wav")
    make_tone(folder / "u8.wav", rate=8000, codec=("-c:a", "pcm_u8"))
    make_tone(folder / "s24.wav", codec=("-c:a", "pcm_s24le"))
    make_tone(folder / "float.wav", codec=("-c:a", "pcm_f32le"))
    make_tone(folder / "surround.flac", channels=6)
    make_tone(folder / "stereo.mp3", rate=44100, channels=2)
    make_tone(folder / "aac.m4a", rate=44100)
    make_tone(folder / "opus.ogg", codec=("-c:a", "libopus"))
    make_tone(folder / "native.wav", rate=16000)
    late = ("-itsoffset", "0.25", "-i", str(folder / "s16.wav"), "-c:a", "aac", "-movie_timescale", "48000")
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:d=1.5", *late, *H264, str(folder / "late.mp4"))
    return folder


@pytest.fixture(params=["path", "imageio"])
def each_ffmpeg(request, monkeypatch) -> Ffmpeg:
    """Runs the test once with the ffmpeg on PATH and once, with an empty PATH, with imageio-ffmpeg's."""
    if request.param == "path" and shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg on PATH")
    if request.param == "imageio":
        monkeypatch.setenv("PATH", "")
    try:
        return find_ffmpeg()
    except EnvironmentProblem as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _no_thread_left():
    """No test may leave a thread of ours alive."""
    with no_thread_left():
        yield


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
