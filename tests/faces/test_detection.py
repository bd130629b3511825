"""What a detector is shown, and which of its answers count."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.core.geometry import transform_points
from lipsync_cli.faces.detection import Detection, analysis_picture, iou, non_max_suppression, pixels
from tests.helpers.disc_faces import disc_centres, frame, paint_face, pose, scene, video_info


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("long_side", [160, 333, 2000])
def test_analysis_picture_is_upright_and_maps_back(rotation: int, long_side: int) -> None:
    shown = paint_face(scene(480, 270), pose(300, 120, 120))
    stored = np.ascontiguousarray(np.rot90(shown, rotation // 90))
    info = video_info(stored.shape[1], stored.shape[0], rotation=rotation)
    analysis = analysis_picture(frame(0, stored), info, long_side)
    assert max(analysis.picture.shape) == min(long_side, 480)
    found = transform_points(analysis.to_display, disc_centres(analysis.picture)[0])
    np.testing.assert_allclose(found, disc_centres(shown)[0], atol=0.6)
    whole = (-0.5, -0.5, analysis.picture.shape[1] - 0.5, analysis.picture.shape[0] - 0.5)
    np.testing.assert_allclose(analysis.display_box(whole), (-0.5, -0.5, 479.5, 269.5), atol=1e-9)


def test_non_max_suppression_keeps_the_better_of_overlapping_detections() -> None:
    worse, better, other = (Detection((x, 0.0, x + 10, 10.0), s) for x, s in ((0.0, 1.0), (2.0, 2.0), (30.0, 0.5)))
    assert non_max_suppression([worse, better, other]) == [better, other]


def test_non_max_suppression_orders_equal_scores_from_left_to_right() -> None:
    right, left = (Detection((x, 0.0, x + 10, 10.0), 1.0) for x in (50.0, 0.0))
    assert non_max_suppression([right, left]) == [left, right]


def test_iou_is_the_shared_part_of_both_areas() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    assert iou(box, box) == 1
    assert iou(box, (5.0, 0.0, 15.0, 10.0)) == pytest.approx(1 / 3)
    assert iou(box, (10.0, 0.0, 20.0, 10.0)) == 0
    assert iou(box, (30.0, 30.0, 40.0, 40.0)) == 0


def test_pixels_of_a_frame_that_was_let_go_are_an_error() -> None:
    shown = frame(0, scene(32, 18))
    assert pixels(shown) is shown.rgb
    with pytest.raises(ValueError, match="no RGB view left"):
        pixels(shown.without_rgb())
