"""Contact sheets: moments of a dub, and faces."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.core.contact_sheets import ContactSheet, Thumbnail, face_sheet, save_png
from lipsync_cli.core.errors import OutputError

GREY = np.full((40, 64, 3), 128, np.uint8)


@given(frames=st.integers(0, 400), columns=st.integers(1, 9))
def test_contact_sheet_moments_are_bounded_ordered_and_spread(frames: int, columns: int) -> None:
    sheet = ContactSheet(columns, height=16)
    for i in range(frames):
        sheet.add(Fraction(i), GREY, GREY)
    times = [int(time) for time in sheet.times]
    assert len(times) == min(frames, columns)
    assert times == sorted(set(times))
    if len(times) > 1 and frames > columns:
        gaps = np.diff(times)
        assert gaps.max() <= 2 * gaps.min()
        assert times[0] == 0
        assert times[-1] >= frames // 2 - 1


def test_contact_sheet_makes_only_pictures_that_it_takes() -> None:
    made = []
    sheet = ContactSheet(2, height=16)
    for i in range(1000):
        sheet.add(Fraction(i), GREY, lambda i=i: made.append(i) or GREY)
    assert len(made) < 60


def test_contact_sheet_rows_are_source_result_and_zooms(tmp_path: Path) -> None:
    red, blue = GREY * (1, 0, 0), GREY * (0, 0, 1)
    sheet = ContactSheet(2, height=40)
    sheet.add(Fraction(0), red.astype(np.uint8), blue.astype(np.uint8), zoom=(-5, 10, 20.5, 500))
    sheet.save(tmp_path / "sheet.png")
    picture = cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1]
    column = picture[:, 5].astype(int)
    firsts = {tuple(color): i for i, color in reversed(list(enumerate(column.tolist())))}
    assert firsts[(128, 0, 0)] < firsts[(0, 0, 128)]
    assert (column[-60:, 2] == 128).any()


def test_contact_sheet_without_frames_is_still_a_picture(tmp_path: Path) -> None:
    ContactSheet().save(tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
    assert face_sheet([]).shape[2] == 3


def test_face_sheet_puts_faces_into_rows() -> None:
    sheet = face_sheet([Thumbnail(GREY, ("one",))] * 5, columns=2, size=50)
    assert sheet.shape[0] == 3 * (50 + 22)


def test_save_png_where_it_cannot_write_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        save_png(tmp_path / "nowhere" / "a.png", GREY)
