"""The renderer's prior: points pull pixels the right way, by the right amount, and only near them."""

from __future__ import annotations

import math

import pytest
import torch

from lipsync_cli.engines.mini.nn.landmark_flow import (
    NEAR_SIGMA,
    POINTS,
    displacement,
    heat_maps,
    pixel_centres,
    point_weights,
    select_nearest,
    squared_lip_distance,
)


def spread_points() -> torch.Tensor:
    """29 points far enough apart that each rules its own neighbourhood."""
    axis = torch.linspace(0.1, 0.9, 6)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)[:29][None]


def test_pixels_at_a_point_look_where_the_reference_has_it():
    points = spread_points()
    references = points[:, None] + torch.tensor([0.02, -0.03])
    weights = point_weights(points, 96)
    flow = displacement(weights, points, references)[0, 0]
    x, y = (points[0, 8] * 96).long().tolist()
    torch.testing.assert_close(flow[:, y, x], torch.tensor([0.02, -0.03]) * weights[0, :, y, x].sum())
    assert weights[0, :, y, x].sum() > 0.8


def test_same_points_move_nothing():
    points = spread_points()
    flow = displacement(point_weights(points, 32), points, points[:, None].expand(-1, 3, -1, -1))
    assert flow.shape == (1, 3, 2, 32, 32)
    assert flow.abs().max() == 0


def test_far_pixels_rest():
    points = torch.full((1, len(POINTS), 2), 0.5)
    weights = point_weights(points, 64)
    assert weights.sum(1).max() < 1
    assert weights[0, :, 0, 0].sum() < 1e-3


def test_heat_maps_peak_at_their_own_points():
    points = torch.full((1, len(POINTS), 2), 0.25)
    points[:, 12:20] = 0.75  # inner lips
    heat = heat_maps(points, 64)[0]
    assert heat[0, 16, 16] > 0.9 and heat[1, 16, 16] < 0.01
    assert heat[1, 48, 48] > 0.9 and heat[0, 48, 48] < 0.01


def test_pixel_centres_are_half_way_between_edges():
    centres = pixel_centres(4, torch.zeros(1))
    torch.testing.assert_close(centres[1, 2], torch.tensor([0.625, 0.375]))


def moved(points: torch.Tensor, *distances: float) -> torch.Tensor:
    """References whose lips are that far away in x."""
    return torch.cat([points + torch.tensor([distance, 0.0]) for distance in distances])[None]


def test_the_reference_with_the_nearest_lips_leads():
    points = spread_points()
    indices, weights = select_nearest(points, moved(points, 0.05, 0.0, 0.004, -0.02), 3)
    assert indices.tolist() == [[1, 2, 3]]
    assert weights[0, 0] > weights[0, 1] > weights[0, 2] > 0
    torch.testing.assert_close(weights.sum(1), torch.ones(1))
    # e^-½ at one deviation; the fourth is too far away to take anything from the others
    assert weights[0, 1] / weights[0, 0] == pytest.approx(math.exp(-0.5 * (0.004 / NEAR_SIGMA) ** 2), rel=1e-3)


def test_only_lips_decide_which_reference_is_near():
    points = spread_points()
    jaw_only = points.clone()
    jaw_only[:, 20:] += 0.1
    assert squared_lip_distance(points, jaw_only) == 0
    assert squared_lip_distance(points, points + torch.tensor([0.03, 0.04])) == pytest.approx(0.05**2)


def test_fewer_references_than_wanted_are_all_taken():
    points = spread_points()
    indices, weights = select_nearest(points, moved(points, 0.0, 0.003), 3)
    assert indices.tolist() == [[0, 1]] and weights[0, 1] > 0.1


def test_moving_lips_never_make_the_weights_jump():
    """Weights of all references along a path through ten of them: no step larger than the path's."""
    points, places = spread_points(), torch.linspace(0.0, 0.03, 10).tolist()
    bank = moved(points, *places)
    before = None
    for offset in torch.linspace(0.0, 0.03, 1001).tolist():
        indices, weights = select_nearest(points + torch.tensor([offset, 0.0]), bank, 3)
        every = torch.zeros(10).index_put((indices[0],), weights[0])
        assert before is None or (every - before).abs().max() < 0.03
        before = every
