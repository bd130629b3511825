"""Manifests in three forms, and whose sound a clip gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lipsync_cli.core.errors import InputError
from lipsync_cli.evaluation.suite.manifest import Clip, donors, read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one.mp4", "two.mkv", "three.mov", "sub/one.mp4", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_manifest_is_a_folder_a_table_or_lines_of_json(folder: Path) -> None:
    assert [clip.name for clip in read_manifest(folder)] == ["one", "three", "two"]
    (folder / "m.csv").write_text("path,split,speaker\none.mp4,test,x\ntwo.mkv,train,x\nsub/one.mp4,test,y\n")
    clips = read_manifest(folder / "m.csv", where={"split": "test"})
    assert [(clip.name, clip.speaker) for clip in clips] == [("one", "x"), ("one-2", "y")]
    lines = [{"video": str(folder / "three.mov")}, {"video": "two.mkv", "speaker": "z"}]
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert [clip.video.name for clip in read_manifest(folder / "m.jsonl")] == ["three.mov", "two.mkv"]


def test_manifest_limit_lets_speakers_take_turns(folder: Path) -> None:
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
def test_manifest_that_is_none_is_refused(name: str, text: str, words: str, folder: Path) -> None:
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_manifest(folder / name)


def clip(name: str, speaker: str) -> Clip:
    return Clip(name, Path(f"{name}.mp4"), speaker)


def test_donor_of_foreign_sound_is_another_speaker() -> None:
    clips = [clip("a1", "a"), clip("a2", "a"), clip("b1", "b")]
    assert [donor.name for donor in donors(clips)] == ["b1", "b1", "a1"]
    nameless = [clip("x", ""), clip("y", "")]
    assert [donor.name for donor in donors(nameless)] == ["y", "x"]
    with pytest.raises(InputError, match="one clip"):
        donors(clips[:1])
