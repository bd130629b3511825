"""The strip of a clip: what it shows, and that an empty one leaves no file."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from lipsync_cli.core.errors import OutputError
from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.suite.strip import COLUMNS, Strip
from tests.helpers.measured_frames import faceless, measured_frame, noise


def test_strip_shows_some_moments_of_any_number(tmp_path: Path) -> None:
    strip = Strip(height=32)
    for index in range(3 * COLUMNS):
        strip.add(MatchedFrames(measured_frame(index, noise(0)), measured_frame(index, noise(1))))
    assert strip.save(tmp_path / "a.jpg") == "a.jpg"
    picture = cv2.imread(str(tmp_path / "a.jpg"))
    assert picture.shape == strip.render().shape
    assert picture.shape[1] < (COLUMNS + 1) * 40


def test_strip_without_a_source_shows_the_clip_twice() -> None:
    alone, twice = Strip(height=32), Strip(height=32)
    frame = measured_frame(0, noise(0))
    alone.add(MatchedFrames(frame))
    twice.add(MatchedFrames(frame, frame))
    assert (alone.render() == twice.render()).all()


def test_strip_without_a_face_leaves_no_file(tmp_path: Path) -> None:
    strip = Strip()
    strip.add(MatchedFrames(faceless(0, noise(0))))
    assert strip.save(tmp_path / "a.jpg") == ""
    assert not list(tmp_path.iterdir())


def test_strip_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    strip = Strip(height=32)
    strip.add(MatchedFrames(measured_frame(0, noise(0))))
    with pytest.raises(OutputError, match="cannot be written"):
        strip.save(tmp_path / "missing" / "a.jpg")
