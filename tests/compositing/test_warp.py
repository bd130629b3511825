"""Which samples of a plane a crop reaches, and what they become."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.compositing.warp import MAX_OVERSAMPLING, PatchWindow, covering_window, oversampling, sample_layer
from lipsync_cli.core.geometry import invert_affine, transform_points

similarities = st.builds(
    lambda scale, angle, x, y: np.array(
        [
            [scale * np.cos(angle), -scale * np.sin(angle), x],
            [scale * np.sin(angle), scale * np.cos(angle), y],
        ]
    ),
    st.floats(0.1, 8),
    st.floats(-3.1, 3.1),
    st.floats(-80, 80),
    st.floats(-80, 80),
)


def waves(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width] / 12.0
    return np.asarray(np.sin(x + y) + np.cos(0.7 * x - y), np.float32)


@settings(max_examples=60)
@given(similarities)
def test_covering_window_holds_every_sample_that_the_crop_reaches(to_crop: np.ndarray) -> None:
    rows, columns, height, width = 20, 30, 50, 70
    window = covering_window(to_crop, (rows, columns), (height, width))
    y, x = np.mgrid[0:height, 0:width]
    placed = transform_points(to_crop, np.stack([x, y], -1))
    reached = (np.abs(placed - [(columns - 1) / 2, (rows - 1) / 2]) <= [columns / 2, rows / 2]).all(-1)
    reached[window.slices] = False
    assert not reached.any()
    assert window.x0 >= 0 and window.x1 <= width and window.y0 >= 0 and window.y1 <= height


def test_covering_window_of_a_crop_beside_the_plane_is_empty() -> None:
    window = covering_window(np.array([[1.0, 0, 500], [0, 1, 0]]), (20, 20), (50, 50))
    assert window.empty
    assert not PatchWindow(3, 4, 5, 6).empty
    assert np.zeros((10, 10))[PatchWindow(3, 4, 5, 6).slices].shape == (2, 2)


def test_sample_layer_at_whole_pixels_is_the_layer() -> None:
    layer = waves(40, 50)
    sampled = sample_layer(layer, np.array([[1.0, 0, 7], [0, 1, 5]]), PatchWindow(0, 0, 30, 20))
    np.testing.assert_allclose(sampled, layer[5:25, 7:37], atol=1e-6)


def test_sample_layer_beyond_the_crop_is_zero() -> None:
    sampled = sample_layer(
        np.ones((10, 10), np.float32), np.array([[1.0, 0, -20], [0, 1, -20]]), PatchWindow(0, 0, 60, 60)
    )
    assert sampled[22:28, 22:28].min() == 1
    assert not sampled[:18].any() and not sampled[:, 33:].any()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_sample_layer_takes_up_to_four_channels_alike(channels: int) -> None:
    layer, to_crop = waves(40, 50), np.array([[0.6, 0.2, 3.0], [-0.2, 0.6, 9.0]])
    window = PatchWindow(2, 3, 40, 30)
    stacked = sample_layer(np.dstack([layer] * channels).reshape(40, 50, channels), to_crop, window)
    alone = sample_layer(layer, to_crop, window)
    for i in range(channels):
        np.testing.assert_allclose(stacked.reshape(*alone.shape, -1)[..., i], alone, atol=1e-5)


@pytest.mark.parametrize("step", [2.0, 3.0, 5.0])
def test_sample_layer_that_shrinks_is_the_mean_over_each_samples_area(step: float) -> None:
    size = int(step) * 12
    layer = np.random.default_rng(0).random((size, size), np.float32)
    to_crop = np.array([[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2]])
    sampled = sample_layer(layer, to_crop, PatchWindow(0, 0, 12, 12))
    means = layer.reshape(12, int(step), 12, int(step)).mean((1, 3))
    np.testing.assert_allclose(sampled, means, atol=0.01)


@given(st.floats(0.05, 30), st.floats(0.05, 30))
def test_oversampling_is_as_many_samples_as_a_step_spans(across: float, down: float) -> None:
    found = oversampling(np.array([[across, 0.0, 0], [0.0, down, 0]]))
    for step, samples in zip((across, down), found, strict=True):
        assert 1 <= samples <= MAX_OVERSAMPLING
        assert samples == MAX_OVERSAMPLING or step - 0.2 <= samples < max(step + 0.8, 1.1)


def test_oversampling_does_not_depend_on_the_turn() -> None:
    turned = invert_affine(np.array([[0.0, -0.4, 3], [0.4, 0.0, 1]]))
    assert oversampling(turned) == oversampling(np.array([[2.5, 0, 0], [0, 2.5, 0]])) == (3, 3)
