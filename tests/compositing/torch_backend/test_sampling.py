"""Sampling with torch is sampling with OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.compositing.torch_backend.sampling import sample_layers
from lipsync_cli.compositing.warp import PatchWindow, sample_layer


@given(
    steps=st.tuples(st.floats(0.1, 6), st.floats(0.1, 6)),
    angle=st.floats(-3.2, 3.2),
    at=st.tuples(st.floats(-20, 60), st.floats(-20, 60)),
)
@settings(max_examples=60)
def test_sample_layers_are_opencvs(steps, angle, at):
    layer = np.random.default_rng(0).random((40, 55), np.float32)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    to_crop, window = np.column_stack([turn * steps, at]), PatchWindow(3, 5, 40, 33)
    expected = sample_layer(layer, to_crop, window)
    sampled = sample_layers(torch.from_numpy(layer)[None], to_crop, window)[0].numpy()
    np.testing.assert_allclose(sampled, expected, atol=1e-3)
    assert np.abs(sampled - expected).mean() < 2e-5


@pytest.mark.parametrize("step", [0.5, 1.0, 3.0])
def test_sample_layers_takes_any_number_of_them(step: float) -> None:
    layers = np.random.default_rng(1).random((5, 30, 40), np.float32)
    to_crop, window = np.array([[step, 0, 2.0], [0, step, 3.0]]), PatchWindow(0, 0, 9, 7)
    together = sample_layers(torch.from_numpy(layers), to_crop, window)
    assert together.shape == (5, 7, 9)
    for layer, sampled in zip(layers, together, strict=True):
        alone = sample_layers(torch.from_numpy(layer)[None], to_crop, window)[0]
        np.testing.assert_array_equal(alone.numpy(), sampled.numpy())
