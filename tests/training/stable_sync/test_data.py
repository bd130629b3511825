"""Windows and pairs of StableSyncNet from prepared clips."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.evaluation.measures.stable_sync import aligned_half, frame_major
from lipsync_cli.faces.crop import cut_picture
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.training.dataset.format import CLIP_MARGIN
from lipsync_cli.training.stable_sync.data import AlignedClip, SyncPair, draw_pairs, load_aligned, load_pairs
from tests.helpers.stable_clips import TINY, made_clips


def test_aligned_half_is_inside_the_prepared_crop() -> None:
    """Cut from the prepared crop or from the source, the lower half is the same, none of it beyond the edge."""
    small = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    picture = cv2.resize(small, (480, 480), interpolation=cv2.INTER_CUBIC)
    landmarks = MEAN_FACE[:, :2] * 240 + 120
    upright = np.eye(2, 3)
    crop = cut_picture(picture, landmarks, upright, LOWER_FACE, 256)
    via_crop = aligned_half(crop.rgb, crop.landmarks, upright, 128)
    np.testing.assert_allclose(via_crop, aligned_half(picture, landmarks, upright, 128), atol=6)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(32, 80))
def test_draw_pairs_gives_windows_of_one_clip(seed: int, apart: int, frames: int) -> None:
    clips = [AlignedClip(np.zeros((n, 1, 2, 3), np.uint8), np.zeros(0, np.float32)) for n in (32, frames)]
    pairs = draw_pairs(clips, 40, seed, frames=16, apart=apart)
    assert pairs == draw_pairs(clips, 40, seed, frames=16, apart=apart)
    for pair in pairs:
        starts = len(clips[pair.clip].halves) - 15
        assert 0 <= pair.picture < starts and 0 <= pair.sound < starts
        farthest = max(pair.picture, starts - 1 - pair.picture)
        assert pair.picture == pair.sound or abs(pair.picture - pair.sound) >= min(apart, farthest)


def test_draw_pairs_gives_half_positive_ones() -> None:
    clips = made_clips()
    matched = [pair.picture == pair.sound for pair in draw_pairs(clips, 2000, 1, frames=16)]
    assert np.mean(matched) == pytest.approx(0.5, abs=0.04)


def test_load_pairs_gives_the_sound_of_the_frames() -> None:
    clip = AlignedClip(np.zeros((60, 16, 32, 3), np.uint8), np.zeros(2 * CLIP_MARGIN + 60 * 640, np.float32))
    clip.halves[:] = np.arange(60, dtype=np.uint8)[:, None, None, None]
    # A click in the middle of frame 30.
    clip.sound[CLIP_MARGIN + 30 * 640 + 320] = 1
    batch = load_pairs([clip], [SyncPair(0, 25, 25), SyncPair(0, 25, 20)], TINY)
    assert batch.pictures.shape == (2, 48, 16, 32) and batch.mels.shape == (2, 1, 80, 52)
    assert batch.matched.tolist() == [1, 0]
    np.testing.assert_array_equal(batch.pictures[0].numpy(), frame_major(clip.halves[25:41]))
    # 5.5 and 10.5 frames into the window, 3.2 columns each.
    loudest = batch.mels.mean((1, 2)).argmax(1).tolist()
    assert loudest == [pytest.approx(17.6, abs=2), pytest.approx(33.6, abs=2)]


def test_load_aligned_cuts_crops_once(prepared: Path, tmp_path: Path) -> None:
    first = load_aligned(prepared, "train", TINY, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = load_aligned(prepared, "train", TINY, tmp_path)
    assert len(stamps) == 2 and {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    assert all(np.array_equal(a.halves, b.halves) for a, b in zip(first, again, strict=True))
    assert first[0].halves.shape == (36, 16, 32, 3)
