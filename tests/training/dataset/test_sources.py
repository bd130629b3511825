"""The clips of a folder: listed in a CSV, or found."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.core.errors import InputError
from lipsync_cli.training.dataset.sources import find_sources


def test_find_sources_reads_caps_and_checks_a_list(tmp_path: Path) -> None:
    header = "path,split,speaker,licence,duration_s,sync_lag_frames\n"
    rows = [f"clips/x/{i}.mp4,train,a,MIT,3.0,{lag}\n" for i, lag in enumerate(["2", "-12", "", "0"])]
    (tmp_path / "clips.csv").write_text(header + "".join(rows))
    everything = find_sources(tmp_path, seconds_per_speaker=100)
    assert [source.lag_frames for source in everything] == [2, -12, None, 0]
    assert len(find_sources(tmp_path, seconds_per_speaker=5)) == 2
    assert len({source.name for source in everything}) == 4
    (tmp_path / "clips.csv").write_text(header + "a.mp4,holdout,a,MIT,3,0\n")
    with pytest.raises(InputError, match=r"Line 2 .* 'holdout'"):
        find_sources(tmp_path, seconds_per_speaker=5)
    (tmp_path / "clips.csv").write_text("file\na.mp4\n")
    with pytest.raises(InputError, match="no column 'path'"):
        find_sources(tmp_path, seconds_per_speaker=5)


def test_find_sources_searches_a_folder_without_a_list(tmp_path: Path) -> None:
    for name in ("anna/1.mp4", "anna/2.MOV", "bob/take/1.mkv", "loose.webm", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    speakers = {source.path: source.speaker for source in find_sources(tmp_path, seconds_per_speaker=5)}
    assert speakers == {"anna/1.mp4": "anna", "anna/2.MOV": "anna", "bob/take/1.mkv": "bob/take", "loose.webm": None}
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no clips"):
        find_sources(empty, seconds_per_speaker=5)
