"""The renderer's prior: points pull pixels the right way, by the right amount, and only near them."""

from __future__ import annotations

import torch

from lipsync_cli.nn.landmark_flow import POINTS, displacement, heat_maps, nearness, pixel_centres, point_weights


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


def test_the_reference_with_the_nearest_lips_leads():
    points = spread_points()
    references = torch.stack([points[0], points[0] + 0.01, points[0] + 0.05])[None]
    near = nearness(points, references)[0]
    assert near[0] == 0
    assert near[0] > near[1] > near[2]
    jaw_only = points.clone()
    jaw_only[:, 20:] += 0.1
    assert nearness(points, jaw_only[:, None])[0, 0] == 0
