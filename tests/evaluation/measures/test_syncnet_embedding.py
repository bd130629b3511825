"""SyncNet v2: the MFCCs it was trained on, its crops and its scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.audio.mfcc import mfcc
from lipsync_cli.evaluation.measures import syncnet_embedding as syncnet
from lipsync_cli.nn.sync.syncnet_v2 import SyncNetV2


def embed_faces(network: SyncNetV2, crops: np.ndarray) -> np.ndarray:
    embedder = syncnet.FaceEmbedder(network)
    for crop in crops:
        embedder.push(crop)
    return embedder.finish()


@pytest.fixture(scope="module")
def network() -> SyncNetV2:
    torch.manual_seed(0)
    return SyncNetV2().eval()


def test_mfcc_agrees_with_python_speech_features() -> None:
    theirs = pytest.importorskip("python_speech_features")
    rng = np.random.default_rng(0)
    for length in (16_000, 16_123, 399, 401):
        samples = (3000 * rng.standard_normal(length)).astype(np.int16)
        np.testing.assert_allclose(mfcc(samples), theirs.mfcc(samples, 16_000), atol=1e-6)


def test_mfcc_of_silence_and_of_a_tone_by_hand() -> None:
    tiny = np.finfo(np.float64).eps
    quiet = mfcc(np.zeros(1600, np.int16))
    assert quiet.shape == (9, 13)
    # All bands equal: only the first cepstrum, replaced by the log energy, is not zero.
    np.testing.assert_allclose(quiet[:, 1:], 0, atol=1e-9)
    np.testing.assert_allclose(quiet[:, 0], np.log(tiny))


def test_embedding_of_a_window_alone_is_that_within_the_clip(network: SyncNetV2) -> None:
    rng = np.random.default_rng(1)
    crops = rng.integers(0, 256, (14, 224, 224, 3), dtype=np.uint8)
    whole = embed_faces(network, crops)
    assert whole.shape == (10, 1024)
    np.testing.assert_allclose(embed_faces(network, crops[9:14])[0], whole[9], atol=1e-4)
    assert embed_faces(network, crops[:4]).shape == (0, 1024)
    sound = (2000 * rng.standard_normal(16_000)).astype(np.int16)
    every = syncnet.embed_sound(network, sound, 10)
    later = syncnet.embed_sound(network, sound[3 * 640 :], 1)
    # Only the very first sample differs, which pre-emphasis leaves alone.
    assert np.linalg.norm(every - later[0], axis=1).argmin() == 3


def test_scores_of_matching_embeddings_with_zero_padding() -> None:
    rows = np.random.default_rng(2).normal(0, 1, (60, 1024)).astype(np.float32)
    score = syncnet.score_syncnet(rows, rows)
    apart = np.linalg.norm(rows[1:] - rows[:-1] + 1e-6, axis=1)
    assert score.av_offset == 0 and score.windows == 60
    assert score.distance == pytest.approx(1e-6 * 32, rel=1e-2)
    # One frame off, the last picture meets a row of zeros.
    assert score.at(-1) == pytest.approx((apart.sum() + np.linalg.norm(rows[-1])) / 60, rel=1e-4)
    late = syncnet.score_syncnet(rows[5:55], rows[2:52])
    assert late.av_offset == -3


def test_window_count_leaves_out_the_last_five_frames() -> None:
    assert syncnet.window_count(75, 75 * 640) == 70
    assert syncnet.window_count(75, 30 * 640 + 639) == 25
    assert syncnet.window_count(3, 640) == 0


def test_boxes_are_median_filtered_with_zeros_at_the_ends() -> None:
    rng = np.random.default_rng(3)
    boxes = [(x, y, x + 50 + d, y + 60) for x, y, d in rng.uniform(0, 20, (30, 3)).tolist()]
    rows = syncnet.median_boxes(boxes)
    sides = [max(x1 - x0, y1 - y0) / 2 for x0, y0, x1, y1 in boxes]
    padded = [0.0] * 6 + sides + [0.0] * 6
    assert rows[:, 0].tolist() == [sorted(padded[i : i + 13])[6] for i in range(30)]
    pictures = [np.full((1, 1, 3), i, np.uint8) for i in range(30)]
    smoother = syncnet.BoxSmoother()
    streamed = [placed for pair in zip(boxes, pictures, strict=True) for placed in smoother.push(*pair)]
    assert len(streamed) == 30 - 6
    streamed += smoother.finish()
    np.testing.assert_allclose([place for place, _ in streamed], rows)
    assert [int(picture[0, 0, 0]) for _, picture in streamed] == list(range(30))


def test_crop_reaches_as_far_as_syncnets_and_is_bgr() -> None:
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[..., 0] = 200
    upright = np.array([[1.0, 0, 0], [0, 1, 0]])
    crop = syncnet.cut_face(rgb, (40.0, 150.0, 100.0), upright)
    assert crop.shape == (224, 224, 3)
    assert crop[112, 112].tolist() == [0, 0, 200]
    # Rows 60 … 172, columns 94 … 206 are inside; a face at the edge sees the padding.
    assert (crop == 110).sum() == 0
    outside = syncnet.cut_face(rgb, (40.0, 0.0, 100.0), upright)
    assert outside[112, 10].tolist() == [110, 110, 110]
