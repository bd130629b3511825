"""``lipsync inspect``: streams always, faces if there is a picture."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from typer.testing import CliRunner, Result

from lipsync_cli.cli.app import app
from lipsync_cli.cli.inspect.text import media_lines
from lipsync_cli.core.contact_sheets import save_png
from lipsync_cli.core.types import AudioInfo, ColorInfo, MediaInfo, OtherStream, VideoInfo
from lipsync_cli.inspection import Inspection
from lipsync_cli.synthetic import draw_head
from tests.helpers.synthetic import run_ffmpeg


def inspect(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["inspect", *map(str, args)])


def test_a_talking_head(head_mp4: Path, tmp_path: Path) -> None:
    result = inspect(head_mp4, "--json", "--picture", tmp_path / "faces.png")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == 1
    assert (document["video"]["width"], document["video"]["frames"], document["video"]["rate"]) == (480, 50, "25")
    assert document["audio"][0]["sample_rate"] == 16_000
    assert [shot["frames"] for shot in document["shots"]] == [50]
    (track,) = document["tracks"]
    assert (track["face"], track["frames"], track["dubbable"]) == (0, 50, 1.0)
    assert abs(sum(track["box"][::2]) / 2 - 240) < 15
    assert cv2.imread(str(tmp_path / "faces.png")) is not None


def test_words_go_to_stdout_and_progress_to_stderr(head_mp4: Path) -> None:
    result = inspect(head_mp4, "--end", "0.4")
    assert result.exit_code == 0
    assert "h264 480×360" in result.stdout
    assert ["0", "0", "0:00.000", "0:00.360", "10", "100%"] in [
        line.split()[:6] for line in result.stdout.splitlines()
    ]
    assert "frames," not in result.stdout


def test_inspect_times_of_a_part_count_from_the_files_first_frame(head_mp4: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.ts"  # MPEG-TS begins at 1.4 s
    run_ffmpeg("-i", str(head_mp4), "-c", "copy", str(late))
    for path in (head_mp4, late):
        document = json.loads(inspect(path, "--start", "1", "--end", "1.4", "--json").stdout)
        (shot,), (track,) = document["shots"], document["tracks"]
        for found in (shot, track):
            assert (round(found["start_s"], 3), round(found["end_s"], 3), found["frames"]) == (1.0, 1.36, 10)


def test_faces_are_numbered_from_left_to_right(tmp_path: Path) -> None:
    left, right = draw_head(360, 300), draw_head(360, 300)[:, :, ::-1]
    save_png(tmp_path / "two.png", np.hstack([left, right]))
    tracks = json.loads(inspect(tmp_path / "two.png", "--json").stdout)["tracks"]
    centres = {track["face"]: track["box"][0] + track["box"][2] for track in tracks}
    assert len(tracks) == 2
    assert list(dict(sorted(centres.items())).values()) == sorted(centres.values())


def test_sound_and_scenery_have_no_faces(voice_wav: Path, tmp_path: Path) -> None:
    result = inspect(voice_wav)
    assert result.exit_code == 0
    assert "faces" not in result.stdout
    save_png(tmp_path / "wall.png", np.full((120, 160, 3), 90, np.uint8))
    result = inspect(tmp_path / "wall.png")
    assert result.exit_code == 0
    assert "faces: none" in result.stdout
    assert json.loads(inspect(tmp_path / "wall.png", "--json").stdout)["tracks"] == []


def test_streams_alone_are_quick(head_mp4: Path) -> None:
    document = json.loads(inspect(head_mp4, "--no-faces", "--json").stdout)
    assert "tracks" not in document


def test_what_cannot_be_inspected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Hello.")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("notes.txt", "empty.mp4", "none.mp4", "."):
        assert inspect(tmp_path / name).exit_code == 3


def test_oddities_are_told() -> None:
    video = VideoInfo(
        0, "hevc", 720, 576, "yuv420p10le", 10, Fraction(1, 90_000), Fraction(30_000, 1001), Fraction(0),
        rotation=90, sample_aspect_ratio=Fraction(16, 11), color=ColorInfo("bt2020", True, tag_transfer="smpte2084"),
    )  # fmt: skip
    audio = AudioInfo(1, "aac", 48_000, 2, "stereo", Fraction(0), Fraction(61))
    info = MediaInfo(
        Path("a.mov"), "mov", Fraction(61), video, (audio,), (OtherStream(2, "subtitle", "mov_text"),), chapters=3
    )
    text = "\n".join(media_lines(info))
    for words in ("29.97 fps", "turned 90°", "pixels 16:11", "shown as 576×1047", "bt2020 (not tagged), full range",
                  "smpte2084", "48000 Hz, stereo, 1:01.000", "also: subtitle", "chapters: 3"):  # fmt: skip
        assert words in text
    assert json.loads(json.dumps(Inspection(info).to_json()))["video"]["sample_aspect_ratio"] == "16/11"
