"""Readings on the 25 Hz grid, and what meters make of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.core.types import Alignment, Crop, Face, FaceState
from lipsync_cli.evaluation.accumulators import FlickerMeter, SourceMeter, TruthMeter
from lipsync_cli.evaluation.clip import Comparison, measure_clip, score_measured
from lipsync_cli.evaluation.clip_reader import MeasuredFrame, on_grid
from lipsync_cli.evaluation.measures.sync_mini import ExpertMeter
from lipsync_cli.evaluation.measures.syncnet_track import SyncNetMeter
from lipsync_cli.evaluation.networks import MetricNetworks, load_judges
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.nn.sync.sync_mini import SyncConfig, SyncMini
from lipsync_cli.nn.sync.syncnet_v2 import SyncNetV2
from lipsync_cli.synthetic import write_voice
from tests.helpers.timing import frame_on_screen

UPRIGHT = np.array([[1.0, 0, 0], [0, 1, 0]])


@given(
    st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(24), Fraction(12), Fraction(60)]),
    st.integers(1, 60),
)
def test_the_grid_shows_what_is_on_screen(rate: Fraction, count: int) -> None:
    times = [Fraction(1, 3) + i / rate for i in range(count)]
    wanted = [times[0] + Fraction(i, 25) for i in range(int((times[-1] - times[0]) * 25) + 1)]
    shown = list(on_grid(zip(times, range(count), strict=True)))
    assert shown == [frame_on_screen(times, time) for time in wanted]
    assert list(on_grid(iter([]))) == []


def reading(index: int, rgb: np.ndarray, opening: float = 0.0) -> MeasuredFrame:
    points = MEAN_FACE[:, :2] * 100 + 20
    points[[65, 66, 67], 1] += 100 * opening
    face = Face(0, (20.0, 20.0, 120.0, 120.0), points, 1.0, 0.0, FaceState.OK)
    crop = Crop(np.ascontiguousarray(rgb[:96, :96]), Alignment(UPRIGHT, 96), points)
    return MeasuredFrame(index, Fraction(index, 25), rgb, face, crop)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (128, 128, 3), dtype=np.uint8)


class FirstPixels:
    """An embedding that can be worked out by hand."""

    def embed(self, patch: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return patch[80, 78:82].reshape(-1).astype(np.float64) + 1


def test_equal_clips_are_perfect_and_disturbed_ones_worse() -> None:
    source, truth = SourceMeter(UPRIGHT, FirstPixels()), TruthMeter()
    for index in range(20):
        frame = reading(index, noise(index), 0.05 + 0.05 * np.sin(index))
        source.add(frame, frame)
        truth.add(frame, frame)
    kept, right = source.results(), truth.results()
    assert kept["border_psnr"] == right["psnr"] == float("inf")
    assert kept["csim"] == pytest.approx(1) and kept["sharpness_ratio"] == 1
    assert right["lmd"] == 0 and right["ssim"] == pytest.approx(1) and right["aperture_corr"] == pytest.approx(1)
    assert right["lpips"] is None


def test_sharpness_and_spread_are_ratios_to_the_real_ones() -> None:
    source, truth = SourceMeter(UPRIGHT, FirstPixels()), TruthMeter()
    for index in range(20):
        real = noise(index)
        half = (real.astype(int) // 2).astype(np.uint8)
        made = reading(index, half, 0.02 + 0.01 * np.sin(index))
        source.add(made, reading(index, real))
        truth.add(made, reading(index, real, 0.04 + 0.02 * np.sin(index)))
    assert source.results()["sharpness_ratio"] == pytest.approx(0.25, abs=0.02)
    assert truth.results()["aperture_spread"] == pytest.approx(0.5, abs=0.1)


def test_flicker_is_not_counted_across_a_gap() -> None:
    meter = FlickerMeter()
    flat = [np.full((128, 128, 3), level, np.uint8) for level in (100, 104, 100, 104, 100)]
    for index, rgb in zip((0, 1, 5, 6, 9), flat, strict=True):
        meter.add(index, rgb, reading(index, rgb).crop)
    assert meter.values == []
    for index, rgb in enumerate(flat[:3], start=20):
        meter.add(index, rgb, reading(index, rgb).crop)
    assert meter.values == [pytest.approx(4)]


@settings(max_examples=10)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_a_lost_face_ends_a_run_and_short_runs_are_dropped(runs: list[int]) -> None:
    torch.manual_seed(0)
    expert = SyncMini(SyncConfig(picture=(2, 2, 2, 4), sound=(2, 2, 4), features=8, embedding=8)).eval()
    meter = ExpertMeter(expert)
    crop = np.zeros((32, 32, 3), np.uint8)
    starts, at = [], 0
    for length in runs:
        for _ in range(length):
            meter.add(crop)
        starts.append((at, length))
        meter.add(None)
        at += length + 1
    found = [(run.first, len(run.embeddings)) for run in meter.finish()]
    assert found == [(first, length - 15) for first, length in starts if length >= 16]


def test_syncnet_scores_a_track_with_the_sound_of_its_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_voice(tmp_path / "voice.wav", 0.4)
    meter = SyncNetMeter(SyncNetV2().eval(), UPRIGHT)
    for index in range(11):
        meter.add(reading(index, noise(index)))
    score = meter.score(tmp_path / "voice.wav", Fraction(0))
    assert score is not None
    # The sound lasts ten frames, the last five of which start no window.
    assert score.windows == 5 and len(score.curve) == 31
    assert score.confidence >= 0 and score.distance > 0


@pytest.fixture(scope="module")
def judges() -> MetricNetworks:
    return load_judges()


@pytest.mark.clips
def test_a_real_clip_is_in_sync_and_a_delay_is_found(clips: Path, judges: MetricNetworks) -> None:
    path = clips / "clips" / "grid" / "s2_bbaf1n.mp4"
    plain, late = Comparison(original=path), Comparison(delay=Fraction(5, 25))
    measured = measure_clip(path, judges, plain)
    in_sync = score_measured(path, judges, plain, measured).metrics
    delayed = score_measured(path, judges, late, measured).metrics
    assert in_sync["av_offset"] == 0 and delayed["av_offset"] == -5
    assert in_sync["sync_probability"] > 0.6 > 0.4 > delayed["sync_probability"]
    # It is the original: of course it goes with the original sound.
    assert in_sync["leak"] > 0.3
