"""From a folder of clips to what training reads, by the command that people type."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from lipsync_cli.cli.app import app
from lipsync_cli.core.errors import UsageError
from lipsync_cli.evaluation.clip_reader import read_clip
from lipsync_cli.training.dataset import prepare as module
from lipsync_cli.training.dataset.format import (
    arrays_path,
    content_hash,
    decode_crops,
    read_arrays,
    read_index,
    video_path,
)
from lipsync_cli.training.dataset.limits import Limits
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.dataset.prepare import PrepareOptions, prepare, read_work
from tests.helpers.paths import SAMPLES
from tests.helpers.synthetic import make_video, run_ffmpeg

FRAMES, GAP = 70, range(26, 34)
LOOSE = {"trusted_confidence": 2.0, "confidence": -1.0, "frozen": 1.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample portrait, speaking: with a second in which nobody is seen, the same again, and without a face."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "anna").mkdir()
    gap = f"drawbox=enable='between(n,{GAP[0]},{GAP[-1]})':color=gray:t=fill"
    inputs = ("-i", str(SAMPLES / "portrait.mp4"), "-i", str(SAMPLES / "speech.wav"))
    run_ffmpeg(
        *inputs, "-vf", f"scale=240:240,{gap}", "-frames:v", str(FRAMES), "-t", str(FRAMES / 25),
        "-c:v", "libx264", "-crf", "12", "-c:a", "flac", str(folder / "anna" / "talks.mkv"),
    )  # fmt: skip
    run_ffmpeg("-i", str(folder / "anna" / "talks.mkv"), "-c", "copy", str(folder / "anna" / "again.mkv"))
    make_video(folder / "anna" / "nobody.mp4", frames=30, audio="aac")
    (folder / "anna" / "broken.mp4").write_bytes(b"no video")
    # Nobody says who speaks, so the face does; the lips of the portrait move to no sound, so a lag must be listed.
    names = ("talks.mkv", "again.mkv", "nobody.mp4", "broken.mp4")
    rows = "".join(f"anna/{name},,MIT,0\n" for name in names)
    (folder / "clips.csv").write_text("path,speaker,licence,sync_lag_frames\n" + rows)
    return folder


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("limits") / "limits.toml"
    path.write_text("".join(f"{name} = {value}\n" for name, value in LOOSE.items()))
    return path


@pytest.fixture(scope="module")
def done(data: Path, options: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("out") / "prepared"
    arguments = ["train", "prepare", str(data), "--prepared", str(out), "--limits", str(options), "--json"]
    result = CliRunner().invoke(app, [*arguments, "--workers", "1"])
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def test_prepare_makes_clips_of_a_folder_and_reasons_for_the_rest(done: tuple[Path, dict]) -> None:
    out, said = done
    left_out = said["clips_left_out"] | said["sources_without_clips"]
    assert said["sources"] == 4
    assert "anna/nobody.mp4" in left_out and "anna/broken.mp4" in left_out
    records = read_index(out)
    rejected = sum(said["clips_left_out"].values())
    assert len(records) == 2 and said["clips_left_out"] == {"duplicate": 2}
    assert {(record.lag_frames, record.lag_from, record.licence) for record in records} == {(0, "csv", "MIT")}
    assert len({record.speaker for record in records}) == 1 and records[0].speaker.startswith("face-")
    assert said["chosen"]["clips"] == len(records) == len(list((out / "clips").glob("*.mp4")))
    assert len(list((out / "spare").glob("*.mp4"))) == rejected
    assert cv2.imread(str(out / "report.png")).shape[1] > 800


def test_prepare_splits_a_clip_at_frames_without_a_face(done: tuple[Path, dict]) -> None:
    cuts = {cut.path: cut for cut in read_work(done[0] / "work.jsonl")}
    cut = cuts["anna/talks.mkv"]
    first, second = cut.stretches
    assert first.first == 0 and first.frames == pytest.approx(GAP[0], abs=2)
    assert second.first == pytest.approx(GAP[-1] + 1, abs=2)
    assert cut.frames == FRAMES and sum(cut.unusable.values()) == FRAMES - first.frames - second.frames


def test_prepare_cuts_crops_as_dubbing_does(done: tuple[Path, dict], data: Path) -> None:
    out, _ = done
    cut = next(cut for cut in read_work(out / "work.jsonl") if cut.path == "anna/talks.mkv")
    stretch = cut.stretches[0]
    place = "clips" if video_path(out, stretch.name).exists() else "spare"
    crops = decode_crops(out / place / f"{stretch.name}.mp4")
    arrays = read_arrays(out / place / f"{stretch.name}.npz")
    with read_clip(data / "anna" / "talks.mkv") as clip:
        seen = [reading for reading in clip.frames if reading.index < stretch.frames]
    assert len(crops) == len(arrays.landmarks) == stretch.frames == len(seen)
    for index in (0, 12, stretch.frames - 1):
        crop = seen[index].crop
        assert crop is not None
        error = np.mean((crops[index].astype(float) - crop.rgb) ** 2)
        assert 10 * np.log10(255**2 / error) > 36
        assert np.abs(arrays.landmarks[index] - crop.landmarks).max() < 0.05
        assert np.abs(arrays.matrices[index] - crop.alignment.matrix).max() < 1e-3
        assert arrays.times[index] == pytest.approx(index / 25, abs=1e-3)


def test_prepare_writes_what_training_reads(done: tuple[Path, dict]) -> None:
    out, _ = done
    records = read_index(out)
    clips = [clip for split in ("train", "val", "test") for clip in load_clips(out, split)]
    assert len(clips) == len(records) > 0
    for clip in clips:
        assert clip.record.sha256 == content_hash(
            video_path(out, clip.record.name), arrays_path(out, clip.record.name)
        )
        assert len(clip.crops) == clip.record.frames == len(clip.landmarks)
        assert clip.crops[0].std() > 5 and clip.mel.std() > 0.1


def test_prepare_again_segments_nothing_and_filters_by_other_limits(
    done: tuple[Path, dict], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = done
    monkeypatch.setattr(module, "segment_source", lambda *a, **k: pytest.fail("cut again"))
    before = read_index(out)
    with (out / "work.jsonl").open("a") as log:
        log.write('{"path": "anna/tal')  # as a run that was killed leaves it
    strict = prepare(data, out, PrepareOptions(workers=1, limits=Limits(face_px=5000.0)))
    assert strict["chosen"]["clips"] == 0 and set(strict["clips_left_out"]) == {"face too small"}
    assert not list((out / "clips").iterdir())
    prepare(data, out, PrepareOptions(workers=1, limits=Limits(**LOOSE)))
    assert read_index(out) == before and len(list((out / "clips").iterdir())) == 2 * len(before)
    with pytest.raises(UsageError, match="192 px"):
        prepare(data, out, PrepareOptions(crop_size=256, workers=1))
