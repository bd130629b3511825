"""What a dub with the embedded model does to the picture: only the mouth changes, at every stamp, reproducibly."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.core.types import Frame
from lipsync_cli.dubbing import picture_dubber, pipeline
from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.media.video import open_frames
from tests.e2e.conftest import PORTRAIT, SPEECH, dub_to, portrait_variant
from tests.helpers.fidelity import psnr_outside
from tests.helpers.synthetic import make_rotated, passthrough, run_ffmpeg


def frames_of(path: Path) -> list[Frame]:
    with open_frames(probe(path), with_rgb=False) as source:
        return list(source)


def times_of(frames: list[Frame]) -> list[float]:
    return [float(frame.time) for frame in frames]


@pytest.fixture(scope="module")
def lossless(short_portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("dub") / "dubbed.mkv"
    report = dub_to(output, short_portrait, codec="ffv1")
    assert report.frames_dubbed == report.frames_out == 30
    return output


def test_the_mouth_changes_and_nothing_else(short_portrait: Path, lossless: Path) -> None:
    """Bit-exact outside a box around the lower face, in luma and chroma; inside, the lips are other lips."""
    for before, after in zip(frames_of(short_portrait), frames_of(lossless), strict=True):
        for source, result in zip(before.planes, after.planes, strict=True):
            scale = source.shape[0] / 480
            changed = np.argwhere(source != result) / scale
            if len(changed):
                (top, left), (bottom, right) = changed.min(0), changed.max(0)
                assert top > 150 and bottom < 345 and left > 140 and right < 350
    middle = [frames_of(path)[15].planes[0].astype(int) for path in (short_portrait, lossless)]
    assert np.abs(middle[0] - middle[1])[200:300, 180:300].max() > 20


def test_time_stamps_and_count_are_the_sources(short_portrait: Path, lossless: Path) -> None:
    assert times_of(frames_of(lossless)) == times_of(frames_of(short_portrait))


def test_same_input_seed_and_device_give_the_same_frames(
    short_portrait: Path, lossless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when dlib works in another process and the middle sees its input arrive differently."""
    monkeypatch.setattr(picture_dubber, "worth_it", lambda: True)
    monkeypatch.setattr(pipeline, "DECODED_AHEAD", 1)
    dub_to(tmp_path / "again.mkv", short_portrait, codec="ffv1")
    for first, second in zip(frames_of(lossless), frames_of(tmp_path / "again.mkv"), strict=True):
        for a, b in zip(first.planes, second.planes, strict=True):
            assert np.array_equal(a, b)


def test_other_speech_gives_other_lips(short_portrait: Path, lossless: Path, tmp_path: Path) -> None:
    dub_to(tmp_path / "other.mkv", short_portrait, SPEECH.with_name("german.flac"), codec="ffv1")
    pairs = zip(frames_of(lossless), frames_of(tmp_path / "other.mkv"), strict=True)
    assert max(np.abs(a.planes[0].astype(int) - b.planes[0].astype(int)).max() for a, b in pairs) > 10


def test_border_region_keeps_its_quality_through_the_one_encode(tmp_path: Path) -> None:
    """PSNR of luma outside the lower face at crf 14: at least 50 dB."""
    source = portrait_variant(tmp_path / "in.mp4", "-c:v", "libx264", "-crf", "20", seconds=1.0)
    dub_to(tmp_path / "out.mp4", source, crf=14, encoder_preset="medium")
    psnr = psnr_outside(source, tmp_path / "out.mp4")
    assert psnr.luma >= 50, psnr


@pytest.mark.parametrize(
    ("name", "options", "codec"),
    [
        ("ntsc.mp4", ("-r", "30000/1001", "-c:v", "libx264"), "auto"),
        ("odd.mkv", ("-vf", "crop=477:475:exact=1", "-c:v", "ffv1"), "ffv1"),
        ("ten_bit.mkv", ("-pix_fmt", "yuv420p10le", "-c:v", "ffv1"), "ffv1"),
        ("anamorphic.mp4", ("-vf", "scale=352:480,setsar=15/11", "-c:v", "libx264"), "auto"),
        ("full_range.mp4", ("-vf", "scale=out_range=pc", "-color_range", "pc", "-c:v", "libx264"), "auto"),
    ],
)
def test_shapes_and_tags_survive(tmp_path: Path, name: str, options: tuple[str, ...], codec: str) -> None:
    source = portrait_variant(tmp_path / name, *options, seconds=0.6)
    output = tmp_path / f"out{Path(name).suffix}"
    report = dub_to(output, source, codec=codec)
    before, after = (require_video(probe(path)) for path in (source, output))
    for field in ("width", "height", "rotation", "sample_aspect_ratio", "bit_depth", "rate"):
        assert getattr(before, field) == getattr(after, field), field
    assert (before.color.matrix, before.color.full_range) == (after.color.matrix, after.color.full_range)
    assert times_of(frames_of(output)) == pytest.approx(times_of(frames_of(source)), abs=1e-3)
    assert report.frames_dubbed == report.frames_out


def test_a_rotated_phone_clip_is_dubbed_upright(tmp_path: Path) -> None:
    upright = portrait_variant(tmp_path / "up.mkv", "-c:v", "ffv1", seconds=0.4)
    lying = tmp_path / "lying.mkv"
    run_ffmpeg("-i", str(upright), "-vf", "transpose=2", "-c:v", "libx264", "-qp", "0", str(tmp_path / "turned.mp4"))
    make_rotated(lying.with_suffix(".mp4"), 90, tmp_path / "turned.mp4")
    report = dub_to(tmp_path / "out.mp4", lying.with_suffix(".mp4"))
    assert report.frames_dubbed == 10
    assert require_video(probe(tmp_path / "out.mp4")).rotation == 90


def test_variable_rate_keeps_every_stamp(tmp_path: Path) -> None:
    source = tmp_path / "vfr_face.mp4"
    # Whole 25ths of a second in uneven numbers, since ffmpeg's encoders round to the stream's own rate.
    uneven = "setpts='(N+2*floor(N/3))/(25*TB)'"
    portrait_variant(source, "-vf", uneven, *passthrough(), "-c:v", "libx264", seconds=1.5)
    dub_to(tmp_path / "out.mp4", source)
    assert times_of(frames_of(tmp_path / "out.mp4")) == times_of(frames_of(source))
    assert len(set(np.diff(times_of(frames_of(source))).round(4))) > 1


def test_a_longer_dub_extends_the_picture_without_a_jump(tmp_path: Path) -> None:
    source = portrait_variant(tmp_path / "in.mkv", "-c:v", "ffv1", seconds=1.0)
    report = dub_to(tmp_path / "out.mkv", source, codec="ffv1", length="longest", end=2.0)
    frames = frames_of(tmp_path / "out.mkv")
    assert report.frames_out == len(frames)
    outside = [frame.planes[0][:140].astype(int) for frame in frames]
    steps = [np.abs(a - b).mean() for a, b in pairwise(outside)]
    assert max(steps[24:]) <= 1.5 * max(steps[:24])


def test_the_dub_ends_up_untouched_beside_the_picture(tmp_path: Path) -> None:
    dub_to(tmp_path / "out.mkv", PORTRAIT, end=0.6)
    sound = probe(tmp_path / "out.mkv").audio[0]
    assert (sound.sample_rate, sound.channels) == (16000, 1)
    assert probe(tmp_path / "out.mkv").metadata
