"""The Fréchet distance of Gaussians with known moments, and the features that FID and FVD compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import sqrtm

from lipsync_cli.evaluation.measure import ClipContext, MatchedFrames
from lipsync_cli.evaluation.measures import frechet
from lipsync_cli.evaluation.measures.frechet import (
    Frechet,
    frechet_distance,
    image_features,
    made_to_real,
    video_features,
)
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.needs import NetworkOptions
from tests.helpers.measured_frames import NO_SOUNDS, UPRIGHT, measured_frame, noise
from tests.helpers.metric_files import Means, VideoMeans, write_scripts

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def test_frechet_distance_of_shifted_and_scaled_features() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (500, 6))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows + 2) == pytest.approx(6 * 4)
    # Same axes, standard deviations s and 3·s: Σ (3s − s)² over the eigenvalues.
    assert frechet_distance(rows - rows.mean(0), 3 * (rows - rows.mean(0))) == pytest.approx(
        4 * np.trace(np.cov(rows.T))
    )


def test_frechet_distance_agrees_with_the_matrix_square_root() -> None:
    rng = np.random.default_rng(1)
    a, b = (
        rng.normal(0, 1, (300, 5)) @ rng.normal(0, 1, (5, 5)),
        rng.normal(1, 1, (200, 5)) @ rng.normal(0, 1, (5, 5)),
    )
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    apart = a.mean(0) - b.mean(0)
    expected = apart @ apart + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_frechet_distance_refuses_too_few_or_unlike_features() -> None:
    for shapes in (((1, 4), (5, 4)), ((5, 4), (5, 3))):
        with pytest.raises(ValueError, match="equal width"):
            frechet_distance(np.zeros(shapes[0]), np.zeros(shapes[1]))


def picture(*colour: int) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (32, 32, 3)).copy()


def test_features_are_asked_for_as_the_networks_want() -> None:
    assert image_features(Means(), [picture(1, 2, 3), picture(4, 5, 6)]).tolist() == [[1, 2, 3], [4, 5, 6]]
    video = video_features(VideoMeans(), [picture(0, 255, 0)] * 16)
    np.testing.assert_allclose(video, [[-1, 1, -1]], atol=1e-5)


def test_features_of_a_clip_are_of_every_fifth_frame_and_the_first_sixteen(tmp_path: Path) -> None:
    write_scripts(tmp_path)
    measure = Frechet(ClipContext(UPRIGHT, MetricNetworks(NetworkOptions(folder=tmp_path))))
    for index in range(22):
        real = noise(index)
        measure.add(MatchedFrames(measured_frame(index, real // 2), measured_frame(index, real)))
    features = measure.features()
    assert {name: rows.shape for name, rows in features.items()} == {
        "fid_made": (5, 3), "fid_real": (5, 3), "fvd_made": (1, 3), "fvd_real": (1, 3),
    }  # fmt: skip
    expected = [noise(index)[:96, :96].mean((0, 1)) for index in range(0, 22, frechet.EVERY)]
    np.testing.assert_allclose(features["fid_real"], expected, rtol=1e-4)
    assert measure.values(NO_SOUNDS) == {}


def test_features_are_only_those_of_networks_that_are_there(tmp_path: Path) -> None:
    write_scripts(tmp_path)
    (tmp_path / "i3d_torchscript.pt").unlink()
    measure = Frechet(ClipContext(UPRIGHT, MetricNetworks(NetworkOptions(folder=tmp_path))))
    for index in range(16):
        frame = measured_frame(index, noise(index))
        measure.add(MatchedFrames(frame, frame))
    assert set(measure.features()) == {"fid_made", "fid_real"}


def test_distance_of_a_single_row_is_none() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (3, 4)).astype(np.float32)
    assert made_to_real({"made": rows[:1], "real": rows[:1]}) is None
    assert made_to_real({"made": rows, "real": rows}) == pytest.approx(0, abs=1e-6)
