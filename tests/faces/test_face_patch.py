"""The patch shows the face upright, in the same place and size wherever it is in the frame."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.faces.face_patch import (
    PATCH_PX,
    UNIT_TO_PATCH,
    cut_patch,
    pose_of_box,
    pose_of_landmarks,
    shape_residual,
)
from lipsync_cli.faces.mean_face import MEAN_FACE
from tests.helpers.disc_faces import ANCHORS, disc_centres, paint_face, pose, scene

WANTED = transform_points(UNIT_TO_PATCH, ANCHORS)


@pytest.mark.parametrize("degrees", [-60.0, 0.0, 25.0])
@pytest.mark.parametrize("width", [50.0, 90.0, 180.0])
def test_patch_shows_any_face_upright_in_its_middle(degrees: float, width: float) -> None:
    where = pose(240, 135, width, degrees)
    patch = cut_patch(paint_face(scene(480, 270), where), np.eye(2, 3), where)
    assert patch.rgb.shape == (PATCH_PX, PATCH_PX, 3)
    found = np.concatenate(disc_centres(patch.rgb))
    np.testing.assert_allclose(found, WANTED, atol=1.0)
    np.testing.assert_allclose(transform_points(patch.matrix, transform_points(where, ANCHORS)), WANTED, atol=1e-9)


def test_pose_of_box_maps_the_unit_box_onto_it() -> None:
    corners = transform_points(pose_of_box((10.0, 20.0, 110.0, 120.0)), [[0, 0], [1, 1]])
    np.testing.assert_allclose(corners, [[10, 20], [110, 120]])


def test_pose_of_box_of_an_oblong_one_has_its_centre_and_mean_side() -> None:
    corners = transform_points(pose_of_box((0.0, 0.0, 90.0, 110.0)), [[0, 0], [1, 1]])
    np.testing.assert_allclose(corners, [[-5, 5], [95, 105]])


def test_pose_of_landmarks_finds_the_pose_they_were_laid_with() -> None:
    where = pose(300, 200, 77, 33)
    landmarks = transform_points(where, MEAN_FACE[:, :2])
    np.testing.assert_allclose(pose_of_landmarks(landmarks), where, atol=1e-9)
    assert shape_residual(landmarks, where) == pytest.approx(0, abs=1e-9)


def test_pose_of_landmarks_does_not_follow_the_mouth_and_jaw() -> None:
    where = pose(300, 200, 77)
    landmarks = transform_points(where, MEAN_FACE[:, :2])
    landmarks[48:, 1] += 12
    landmarks[:17, 1] += 12
    np.testing.assert_allclose(pose_of_landmarks(landmarks), where, atol=1e-9)


def test_shape_residual_is_in_box_widths() -> None:
    where = pose(300, 200, 80)
    landmarks = transform_points(where, MEAN_FACE[:, :2])
    landmarks[17:48, 0] += np.where(np.arange(31) % 2, 8.0, -8.0)
    assert shape_residual(landmarks, where) == pytest.approx(0.1)
