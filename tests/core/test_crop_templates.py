"""Where faces land in crops, and what of them may be generated."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lipsync_cli.core.crop_templates import LATENTSYNC, LOWER_FACE, TEMPLATES, CropTemplate, crop_template
from lipsync_cli.core.geometry import affine_scale, transform_points
from lipsync_cli.core.landmarks68 import MOUTH
from lipsync_cli.core.types import ModelSpec
from lipsync_cli.faces.crop import stretched_matrix
from lipsync_cli.faces.mean_face import MEAN_FACE

FACE = MEAN_FACE[:, :2] * 140 + [210, 95]
EACH = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)


@EACH
@pytest.mark.parametrize("size", [96, 256])
def test_template_lays_a_face_that_fits_where_it_says(template: CropTemplate, size: int) -> None:
    target = np.asarray(template.points) * [size * template.aspect, size] - 0.5
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    anchors = (target - target.mean(0)) @ turn.T * 3.7 + [300, 200]
    np.testing.assert_allclose(transform_points(template.matrix(anchors, size), anchors), target, atol=1e-9)
    assert affine_scale(template.matrix(anchors, size)) == pytest.approx(1 / 3.7)


@EACH
def test_template_lays_the_mouth_into_its_region(template: CropTemplate) -> None:
    size = 256
    mouth = transform_points(stretched_matrix(FACE, template, size), FACE[list(MOUTH)])
    x, y = ((mouth + 0.5) / size).T
    assert template.region.radius(x, y).max() < 0.9


@EACH
def test_template_region_lies_in_the_crop(template: CropTemplate) -> None:
    region = template.region
    for centre, half in zip(region.centre, region.half_size, strict=True):
        assert 0 < centre - half < centre + half < 1


def test_template_anchors_do_not_move_with_the_mouth() -> None:
    speaking = FACE.copy()
    speaking[48:, 1] += 20
    for template in TEMPLATES.values():
        np.testing.assert_array_equal(template.anchors(speaking), template.anchors(FACE))


def test_templates_have_the_published_numbers() -> None:
    assert (LOWER_FACE.name, LOWER_FACE.aspect) == ("lower-face", 1.0)
    np.testing.assert_allclose(np.array(LATENTSYNC.points) * [75, 100], [[17, 20], [58, 20], [37.5, 40]])
    assert (LATENTSYNC.name, LATENTSYNC.aspect) == ("latentsync", 0.75)


def test_crop_template_is_found_by_name() -> None:
    assert [crop_template(name) for name in TEMPLATES] == list(TEMPLATES.values())


def test_crop_template_of_an_engine_comes_along_in_its_spec() -> None:
    own = replace(LOWER_FACE, name="close-up", points=((0.2, 0.1), (0.8, 0.1), (0.5, 0.5)))
    spec = ModelSpec("theirs", own, 64, 1, 1, 0, Fraction(0), Fraction(0))
    assert crop_template(spec.template) is own


def test_crop_template_that_nobody_has_is_an_error() -> None:
    with pytest.raises(ValueError, match="no crop template called 'upper-face', only lower-face, latentsync"):
        crop_template("upper-face")
