"""dlib's HOG detector."""

from __future__ import annotations

import cv2
import numpy as np

from lipsync_cli.faces.detectors.dlib import DlibDetector
from lipsync_cli.synthetic import draw_head


def test_hog_does_not_mind_a_view_that_is_not_contiguous() -> None:
    head = draw_head()
    view = np.pad(head, ((0, 0), (0, 16), (0, 0)))[:, : head.shape[1]]
    assert not view.flags["C_CONTIGUOUS"]
    assert DlibDetector().detect(view) == DlibDetector().detect(head)


def test_hog_searches_twice_for_small_faces_if_thorough() -> None:
    small = cv2.resize(draw_head(), None, fx=0.24, fy=0.24, interpolation=cv2.INTER_AREA)
    assert DlibDetector().detect(small, thorough=False) == []
    assert len(DlibDetector().detect(small)) == 1


def test_hog_does_not_enlarge_a_large_picture() -> None:
    small = cv2.resize(draw_head(), None, fx=0.24, fy=0.24, interpolation=cv2.INTER_AREA)
    beside = np.pad(small, ((0, 0), (0, 721 - small.shape[1]), (0, 0)), mode="edge")
    assert DlibDetector().detect(beside) == []
