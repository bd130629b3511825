"""Manifests in three forms, and whose sound a clip gets."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from lipsync_cli.core.errors import InputError
from lipsync_cli.dubbing.report import SpanEntry
from lipsync_cli.evaluation.suite.manifest import Clip, donors, read_manifest
from lipsync_cli.evaluation.suite.protocols import SuitePlan, items, scored_frames
from lipsync_cli.settings import DubSettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one.mp4", "two.mkv", "three.mov", "sub/one.mp4", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_a_folder_a_table_and_lines_of_json(folder: Path) -> None:
    assert [clip.name for clip in read_manifest(folder)] == ["one", "three", "two"]
    (folder / "m.csv").write_text("path,split,speaker\none.mp4,test,x\ntwo.mkv,train,x\nsub/one.mp4,test,y\n")
    clips = read_manifest(folder / "m.csv", where={"split": "test"})
    assert [(clip.name, clip.speaker) for clip in clips] == [("one", "x"), ("one-2", "y")]
    lines = [{"video": str(folder / "three.mov")}, {"video": "two.mkv", "speaker": "z"}]
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert [clip.video.name for clip in read_manifest(folder / "m.jsonl")] == ["three.mov", "two.mkv"]


def test_a_limit_lets_speakers_take_turns(folder: Path) -> None:
    rows = [f"one.mp4,{speaker}" for speaker in ("a", "a", "a", "b", "c")]
    (folder / "m.csv").write_text("video,speaker\n" + "\n".join(rows) + "\n")
    chosen = read_manifest(folder / "m.csv", limit=4)
    assert [clip.speaker for clip in chosen] == ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.csv", "name\nx\n", "without a video"),
        ("m.csv", "video\n", "no clip"),
        ("m.jsonl", "{}\n{\n", "Line 2"),
        ("m.jsonl", "[1]\n", "no object"),
        ("m.csv", "video\nelsewhere.mp4\n", "does not exist"),
    ],
)
def test_what_is_no_manifest(name: str, text: str, words: str, folder: Path) -> None:
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_manifest(folder / name)


def clip(name: str, speaker: str) -> Clip:
    return Clip(name, Path(f"{name}.mp4"), speaker)


def test_foreign_sound_comes_from_another_speaker() -> None:
    clips = [clip("a1", "a"), clip("a2", "a"), clip("b1", "b")]
    assert [donor.name for donor in donors(clips)] == ["b1", "b1", "a1"]
    nameless = [clip("x", ""), clip("y", "")]
    assert [donor.name for donor in donors(nameless)] == ["y", "x"]
    with pytest.raises(InputError, match="one clip"):
        donors(clips[:1])


def test_controls_of_a_clip_follow_each_other() -> None:
    clips = [clip("a", "a"), clip("b", "b")]
    plan = SuitePlan(clips, ("original", "self", "foreign"), Path(), DubSettings())
    order = [(item.protocol, item.clip.name, item.sound.stem) for item in items(plan)]
    assert order == [
        ("self", "a", "a"), ("self", "b", "b"), ("original", "a", "a"), ("foreign", "a", "b"),
        ("original", "b", "b"), ("foreign", "b", "a"),
    ]  # fmt: skip


def test_references_and_untouched_frames_are_not_scored() -> None:
    spans = [SpanEntry(0.0, 2.0, "dubbed", 0), SpanEntry(2.0, 3.0, "missing"), SpanEntry(3.0, 5.0, "dubbed", 0)]
    counts = scored_frames(spans, Fraction(25), 25)
    assert [index for index in range(130) if counts(index)] == [*range(25, 50), *range(100, 125)]


def test_scored_frames_of_a_segment_include_those_that_the_model_left_alone() -> None:
    spans = [SpanEntry(0.0, 2.0, "dubbed", 0), SpanEntry(2.0, 3.0, "unchanged", 0), SpanEntry(3.0, 4.0, "dubbed", 0)]
    counts = scored_frames(spans, Fraction(25), 25)
    assert [index for index in range(130) if counts(index)] == [*range(25, 100)]
