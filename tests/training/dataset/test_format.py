"""The format of prepared clips: what is written comes back, with OpenCV and numpy alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.core.errors import InputError
from lipsync_cli.media.crop_video import write_crops
from lipsync_cli.training.dataset.format import (
    MAX_LAG,
    MEL_MARGIN,
    SAMPLES_PER_FRAME,
    SOUND_MARGIN,
    ClipArrays,
    clip_samples,
    decode_crops,
    mel_rows,
    read_arrays,
    video_path,
    write_arrays,
)
from lipsync_cli.training.dataset.loader import is_open, load_clips
from tests.helpers.prepared_folder import soft_noise, write_prepared


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("runs") / "prepared", [("train", "a"), ("val", "b")], frames=21)


@pytest.mark.parametrize("frames", [1, 2, 33, 250])
def test_every_frame_comes_back_in_its_place(frames: int, tmp_path: Path) -> None:
    crops = np.zeros((frames, 64, 64, 3), np.uint8)
    crops[:] = (40 + 170 * np.random.default_rng(0).random((frames, 1, 1, 3))).astype(np.uint8)
    write_crops(tmp_path / "a.mp4", iter(crops), 64)
    back = decode_crops(tmp_path / "a.mp4")
    assert back.shape == crops.shape
    assert np.abs(back.astype(int) - crops).mean((1, 2, 3)).max() < 4


def test_pixels_come_back_without_a_shift_in_colour(tmp_path: Path) -> None:
    # As colourful as skin and lips are, not as noise can be.
    crops = (70 + 0.45 * soft_noise(12, 192, np.random.default_rng(1))).astype(np.uint8)
    write_crops(tmp_path / "a.mp4", crops, 192)
    error = decode_crops(tmp_path / "a.mp4").astype(float) - crops
    assert 10 * np.log10(255**2 / (error**2).mean()) > 38
    # Swapped channels, a wrong matrix or range would each move a channel's mean.
    assert np.abs(error.mean((0, 1, 2))).max() < 0.5


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.floats(1, 9000), st.integers(0, 9))
def test_sound_and_landmarks_come_back_within_their_steps(frames: int, loudness: float, seed: int) -> None:
    import tempfile

    rng = np.random.default_rng(seed)
    samples = rng.normal(0, loudness, 2 * SOUND_MARGIN + frames * SAMPLES_PER_FRAME).clip(-32768, 32767)
    landmarks = rng.uniform(-100, 350, (frames, 68, 2)).astype(np.float32)
    matrices = rng.normal(size=(frames, 2, 3)).astype(np.float32)
    with tempfile.TemporaryDirectory() as where:
        path = Path(where) / "a.npz"
        rows = rng.integers(0, 193, frames).astype(np.int16)
        write_arrays(path, ClipArrays(landmarks, samples.astype(np.int16), matrices, np.arange(frames) / 25, rows))
        back = read_arrays(path)
    assert np.abs(back.landmarks - landmarks).max() <= 1 / 64 + 1e-4
    assert np.array_equal(back.matrices, matrices) and np.array_equal(back.rows, rows)
    whole = samples.astype(np.int16).astype(float)
    noise = back.samples - whole
    assert 20 * np.log10(np.sqrt((noise**2).mean()) + 1e-9) <= 20 * np.log10(np.sqrt((whole**2).mean())) - 59.9


def test_a_lag_is_undone_in_the_sound() -> None:
    frames = 30
    samples = np.zeros(2 * SOUND_MARGIN + frames * SAMPLES_PER_FRAME, np.int16)
    # A click that belongs to frame 10 and comes three frames late.
    samples[SOUND_MARGIN + 13 * SAMPLES_PER_FRAME] = 30000
    loudest = [int(mel_rows(clip_samples(samples, frames, lag), frames).mean(1).argmax()) for lag in (0, 3)]
    assert abs(loudest[1] - (MEL_MARGIN + 4 * 10)) <= 1 and loudest[0] - loudest[1] == 12
    assert mel_rows(clip_samples(samples, frames, -MAX_LAG), frames).shape == (2 * MEL_MARGIN + 4 * frames, 80)
    with pytest.raises(ValueError, match="lag"):
        clip_samples(samples, frames, MAX_LAG + 1)


def test_clips_are_read_like_arrays_and_decoded_once(folder: Path, tmp_path: Path) -> None:
    clip = load_clips(folder, "train", cache=tmp_path / "cache")[0]
    assert len(clip.crops) == 21 and clip.crops.shape == (21, 192, 192, 3)
    assert not (tmp_path / "cache").exists(), "nothing is decoded before a frame is asked for"
    whole = decode_crops(video_path(folder, clip.record.name))
    for index in (3, slice(4, 9), np.array([20, 0, 7])):
        assert np.array_equal(clip.crops[index], whole[index])
    assert np.array_equal(np.array(clip.crops), whole)
    cached = next((tmp_path / "cache").iterdir())
    stamp = cached.stat().st_mtime_ns
    again = load_clips(folder, "train", cache=tmp_path / "cache")[0]
    assert np.array_equal(again.crops[5], whole[5]) and cached.stat().st_mtime_ns == stamp
    assert clip.mel.shape == (2 * MEL_MARGIN + 4 * 21, 80) and clip.landmarks.shape == (21, 68, 2)


def test_damaged_folders_are_input_errors(tmp_path: Path) -> None:
    folder = write_prepared(tmp_path / "prepared", [("train", "a")], frames=20, size=64)
    clip = load_clips(folder, "train")[0]
    video = video_path(folder, clip.record.name)
    write_crops(video, np.zeros((19, 64, 64, 3), np.uint8), 64)
    with pytest.raises(InputError, match="19 frames of 64 px, expected 20"):
        clip.crops[0]
    video.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be decoded"):
        load_clips(folder, "train")[0].crops[0]
    (folder / "index.jsonl").write_text('{"number": 0, "path": "a.mp4"}\n')
    with pytest.raises(InputError, match="not an index of prepared clips"):
        load_clips(folder, "train")
    with pytest.raises(InputError, match="no prepared clips"):
        load_clips(tmp_path, "train")


def test_reading_needs_neither_a_media_library_nor_a_face_library(folder: Path, tmp_path: Path) -> None:
    code = f"""
import sys
for name in ("av", "ffmpeg", "imageio_ffmpeg", "dlib", "face_recognition_models", "librosa", "diffusers"):
    sys.modules[name] = None
from pathlib import Path
from lipsync_cli.training.dataset.loader import load_clips, render_batches
clips = load_clips(Path({str(folder)!r}), "train", cache=Path({str(tmp_path)!r}))
batch = next(render_batches(clips, size=48, sequences=1, targets=1, references=1, seed=0))
print(tuple(batch.targets.shape), clips[0].mel.shape[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["(1,", "1,", "3,", "48,", "48)", "80"], done.stderr


def test_open_licences_are_those_of_own_recordings_and_grid() -> None:
    assert is_open("CC BY 4.0 (GRID corpus)") and is_open("MIT") and is_open("repo MIT (LICENSE, x 2024); own")
    assert not is_open("unclear: LRW-AR broadcast footage, host repository MIT")
    assert not is_open("CC BY 4.0 as stated in MRzzm/HDTF README for the HDTF dataset")
