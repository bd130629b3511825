"""Who is chosen, and that the choice does not flip."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_cli.core.errors import InputError, NoFaceError, UsageError
from lipsync_cli.core.types import FaceState, TrackedFrame
from lipsync_cli.faces.selection import FaceChoice, parse_face_choice, select
from lipsync_cli.faces.tracking.tracker import Tracker
from tests.helpers.disc_faces import (
    SkinRecogniser,
    disc_reader,
    frame,
    paint_face,
    pose,
    scene,
    video_info,
)

WIDTH, HEIGHT = 480, 270
Person = tuple[float, float, int]  # x, box width, grey of the skin
ANN, BEN, CAT = 170, 120, 220


def shot(people: Iterable[Person], count: int, seed: int = 0) -> list[np.ndarray]:
    picture = scene(WIDTH, HEIGHT, seed, (40 + 8 * seed, 70, 90 - 9 * seed))
    for x, width, skin in people:
        picture = paint_face(picture, pose(x, 130, width), skin)
    return [picture] * count


def chosen(shown: list[np.ndarray], choice: str | FaceChoice) -> list[float | None]:
    """x of the one face that is not NOT_CHOSEN, per frame."""
    tracker = Tracker(video_info(WIDTH, HEIGHT), disc_reader(), recogniser=SkinRecogniser())
    tracked = tracker.run(frame(i, picture) for i, picture in enumerate(shown))
    wanted = parse_face_choice(choice) if isinstance(choice, str) else choice
    return [_only(item) for item in select(tracked, wanted, tracker)]


def _only(item: TrackedFrame) -> float | None:
    chosen = [face for face in item.faces if face.state not in (FaceState.NOT_CHOSEN, FaceState.MISSING)]
    assert len(chosen) <= 1
    return round(float(chosen[0].landmarks[:, 0].mean())) if chosen else None


@pytest.mark.parametrize("word", ["largest", "all", "left", "right"])
def test_face_choice_knows_its_words(word: str) -> None:
    assert parse_face_choice(word).kind == word


def test_face_choice_can_be_a_number_or_a_picture() -> None:
    assert parse_face_choice("2") == FaceChoice("index", index=2)
    assert parse_face_choice("ann.JPG") == FaceChoice("reference", reference=Path("ann.JPG"))


@pytest.mark.parametrize("text", ["", "biggest", "-1", "1.5"])
def test_face_choice_refuses_other_words(text: str) -> None:
    with pytest.raises(UsageError, match="chooses no face"):
        parse_face_choice(text)


@pytest.mark.parametrize(("choice", "x"), [("largest", 340), ("left", 120), ("right", 340), ("0", 120), ("1", 340)])
def test_select_leaves_one_of_two(choice: str, x: float) -> None:
    assert chosen(shot([(120, 60, ANN), (340, 80, BEN)], 8), choice) == [x] * 8


def test_select_all_leaves_both() -> None:
    tracker = Tracker(video_info(WIDTH, HEIGHT), disc_reader())
    pictures = shot([(120, 60, ANN), (340, 80, BEN)], 5)
    tracked = tracker.run(frame(i, picture) for i, picture in enumerate(pictures))
    for item in select(tracked, FaceChoice("all"), tracker):
        assert [face.state for face in item.faces] == [FaceState.OK] * 2


def test_select_largest_does_not_flip_between_similar_faces() -> None:
    pictures = [shot([(120, 75 + 8 * np.sin(i), ANN), (340, 75 - 8 * np.sin(i), BEN)], 1)[0] for i in range(40)]
    assert len(set(chosen(pictures, "largest"))) == 1


def test_select_largest_gives_way_to_a_much_larger_one_after_a_second() -> None:
    pictures = shot([(120, 60, ANN)], 10) + shot([(120, 60, ANN), (340, 130, BEN)], 60)
    xs = chosen(pictures, "largest")
    assert xs[0] == 120
    assert xs[-1] == 340
    switch = xs.index(340)
    assert 10 + 25 <= switch <= 10 + 32
    assert xs[switch:] == [340] * (70 - switch)


def test_select_largest_stays_with_the_person_after_a_cut() -> None:
    pictures = shot([(120, 90, ANN)], 8) + shot([(340, 60, ANN), (120, 90, BEN)], 8, seed=5)
    assert chosen(pictures, "largest") == [120] * 8 + [340] * 8


def test_select_lets_another_face_wait_when_the_chosen_one_leaves() -> None:
    both = shot([(120, 70, ANN), (340, 60, BEN)], 15)
    alone = shot([(340, 60, BEN)], 60)
    xs = chosen(both + alone, "largest")
    assert xs[:15] == [120] * 15
    assert xs[15:45] == [None] * 30
    assert xs[-1] == 340


def test_select_counts_persons_as_they_come() -> None:
    pictures = shot([(120, 60, BEN), (340, 60, ANN)], 6) + shot([(240, 80, CAT)], 6, seed=5)
    pictures += shot([(100, 60, ANN), (300, 60, BEN)], 6, seed=9)
    assert chosen(pictures, "1") == [340] * 6 + [None] * 6 + [100] * 6
    assert chosen(pictures, "2") == [None] * 6 + [240] * 6 + [None] * 6


@pytest.mark.parametrize(("people", "words"), [([], "no face was seen"), ([(120, 60, ANN)], "only face 0 was seen")])
def test_select_of_a_number_nobody_has_is_an_error(people: list[Person], words: str) -> None:
    with pytest.raises(NoFaceError, match=f"Face 3 was asked for, but {words}"):
        chosen(shot(people, 5), "3")


def write(path: Path, people: Iterable[Person]) -> FaceChoice:
    cv2.imwrite(str(path), shot(people, 1)[0][..., ::-1])
    return FaceChoice("reference", reference=path)


def test_select_finds_a_person_by_picture(tmp_path: Path) -> None:
    choice = write(tmp_path / "bén.png", [(240, 90, BEN)])
    pictures = shot([(120, 60, BEN), (340, 60, ANN)], 6) + shot([(300, 60, BEN)], 6, seed=5)
    assert chosen(pictures, choice) == [120] * 6 + [300] * 6


def test_select_of_a_picture_of_nobody_is_an_error(tmp_path: Path) -> None:
    choice = write(tmp_path / "cat.png", [(240, 90, CAT)])
    with pytest.raises(NoFaceError, match=r"Nobody in the video looks like cat\.png"):
        chosen(shot([(120, 60, ANN)], 5), choice)


def test_select_refuses_pictures_that_cannot_serve(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no face in empty\.png"):
        chosen(shot([(120, 60, ANN)], 2), write(tmp_path / "empty.png", []))
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(InputError, match="not a picture"):
        chosen(shot([(120, 60, ANN)], 2), FaceChoice("reference", reference=tmp_path / "text.png"))
    with pytest.raises(InputError, match="cannot be read"):
        chosen(shot([(120, 60, ANN)], 2), FaceChoice("reference", reference=tmp_path / "gone.png"))
