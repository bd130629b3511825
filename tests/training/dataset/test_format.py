"""The format of prepared clips: what is written comes back, with OpenCV and numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    write_arrays,
)
from lipsync_cli.training.dataset.loader import load_clips
from tests.helpers.prepared_folder import soft_noise


@pytest.mark.parametrize("frames", [1, 2, 33, 250])
def test_decode_crops_gives_every_frame_in_its_place(frames: int, tmp_path: Path) -> None:
    crops = np.zeros((frames, 64, 64, 3), np.uint8)
    crops[:] = (40 + 170 * np.random.default_rng(0).random((frames, 1, 1, 3))).astype(np.uint8)
    write_crops(tmp_path / "a.mp4", iter(crops), 64)
    back = decode_crops(tmp_path / "a.mp4")
    assert back.shape == crops.shape
    assert np.abs(back.astype(int) - crops).mean((1, 2, 3)).max() < 4


def test_decode_crops_gives_pixels_without_a_shift_in_colour(tmp_path: Path) -> None:
    # As colourful as skin and lips are, not as noise can be.
    crops = (70 + 0.45 * soft_noise(12, 192, np.random.default_rng(1))).astype(np.uint8)
    write_crops(tmp_path / "a.mp4", crops, 192)
    error = decode_crops(tmp_path / "a.mp4").astype(float) - crops
    assert 10 * np.log10(255**2 / (error**2).mean()) > 38
    # Swapped channels, a wrong matrix or range would each move a channel's mean.
    assert np.abs(error.mean((0, 1, 2))).max() < 0.5


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.floats(1, 9000), st.integers(0, 9))
def test_read_arrays_gives_sound_and_landmarks_within_their_steps(frames: int, loudness: float, seed: int) -> None:
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


def test_clip_samples_undoes_the_lag() -> None:
    frames = 30
    samples = np.zeros(2 * SOUND_MARGIN + frames * SAMPLES_PER_FRAME, np.int16)
    # A click that belongs to frame 10 and comes three frames late.
    samples[SOUND_MARGIN + 13 * SAMPLES_PER_FRAME] = 30000
    loudest = [int(mel_rows(clip_samples(samples, frames, lag), frames).mean(1).argmax()) for lag in (0, 3)]
    assert abs(loudest[1] - (MEL_MARGIN + 4 * 10)) <= 1 and loudest[0] - loudest[1] == 12
    assert mel_rows(clip_samples(samples, frames, -MAX_LAG), frames).shape == (2 * MEL_MARGIN + 4 * frames, 80)
    with pytest.raises(ValueError, match="lag"):
        clip_samples(samples, frames, MAX_LAG + 1)


def test_stored_crops_are_written_by_every_process_into_a_file_of_its_own(folder, tmp_path, monkeypatch):
    """As two processes would that want it at the same time: the first is in the middle of writing."""
    one, two = (load_clips(folder, "val", cache=tmp_path)[0].crops for _ in range(2))
    save, names = np.save, []

    def interrupted(path: Path, crops: np.ndarray) -> None:
        names.append(path)
        monkeypatch.setattr("os.getpid", lambda: 2)
        if len(names) == 1:
            assert two[0].any()
        save(path, crops)

    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setattr("lipsync_cli.training.dataset.format.np.save", interrupted)
    assert np.array_equal(one[0], two[0]) and len(set(names)) == 2
