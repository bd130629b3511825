"""Clips of a prepared folder, masks of what is visible, and batches for the renderer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.core.errors import InputError
from lipsync_cli.core.geometry import transform_points
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.media.crop_video import write_crops
from lipsync_cli.training.dataset.format import (
    MEL_MARGIN,
    decode_crops,
    video_path,
)
from lipsync_cli.training.dataset.loader import is_open, load_clips, mirror_points, render_batches, visible_mask
from tests.helpers.prepared_folder import write_prepared


def test_load_clips_reads_crops_like_arrays_and_decodes_them_once(folder: Path, tmp_path: Path) -> None:
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


def test_load_clips_of_a_damaged_folder_is_an_input_error(tmp_path: Path) -> None:
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


def test_load_clips_needs_neither_a_media_library_nor_a_face_library(folder: Path, tmp_path: Path) -> None:
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


def test_is_open_for_own_recordings_and_grid() -> None:
    assert is_open("CC BY 4.0 (GRID corpus)") and is_open("MIT") and is_open("repo MIT (LICENSE, x 2024); own")
    assert not is_open("unclear: LRW-AR broadcast footage, host repository MIT")
    assert not is_open("CC BY 4.0 as stated in MRzzm/HDTF README for the HDTF dataset")


def test_render_batches_are_a_function_of_their_seed(folder: Path) -> None:
    clips = load_clips(folder, "train")
    one, two = (next(render_batches(clips, size=48, sequences=2, targets=2, references=3, seed=7)) for _ in range(2))
    assert torch.equal(one.targets, two.targets) and torch.equal(one.reference_points, two.reference_points)
    assert one.targets.shape == (2, 2, 3, 48, 48) and one.references.shape == (2, 3, 3, 48, 48)
    assert one.target_points.shape == (2, 2, 29, 2)


def test_visible_mask_is_empty_beyond_the_picture() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    face = MEAN_FACE[:, :2]
    landmarks = transform_points(LOWER_FACE.matrix(LOWER_FACE.anchors(face), 192), face)
    whole = visible_mask(crop, landmarks, 96)
    assert whole.shape == (96, 96) and 0 < whole.max() <= 1 and whole[70, 48] > 0.9
    told = visible_mask(crop, landmarks, 96, 150)
    assert not told[75:].any() and np.array_equal(told[:75], whole[:75])
    crop[150:] = crop[149]
    seen = visible_mask(crop, landmarks, 96)
    assert not seen[76:].any() and np.array_equal(seen[:74], whole[:74])


def test_mirror_points_twice_changes_nothing() -> None:
    points = torch.rand(3, 29, 2)
    torch.testing.assert_close(mirror_points(mirror_points(points)), points)
