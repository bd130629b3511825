"""Which sound belongs to a clip's first frame, and which clips can be compared frame by frame."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from lipsync_cli.core.errors import InputError
from lipsync_cli.evaluation.comparison import Comparison, common_length, open_compared
from lipsync_cli.evaluation.measure import AlignedSound
from lipsync_cli.evaluation.needs import ORIGINAL, SOUND, SOURCE, TRUTH
from tests.helpers.synthetic import run_ffmpeg

FIRST = Fraction(3, 25)


def test_sounds_are_the_clips_own_on_its_own_clock(head_mp4: Path) -> None:
    sounds = Comparison(delay=Fraction(1, 5)).sounds(head_mp4, FIRST)
    assert sounds.sound == AlignedSound(head_mp4, FIRST - Fraction(1, 5))
    assert sounds.original is None and sounds.first == FIRST
    assert Comparison(sound=head_mp4).sounds(head_mp4, FIRST).sound == AlignedSound(head_mp4, FIRST)


def test_sounds_of_another_file_begin_with_the_first_frame(head_mp4: Path, voice_wav: Path) -> None:
    sounds = Comparison(sound=voice_wav, original=head_mp4).sounds(head_mp4, FIRST)
    assert sounds.sound == AlignedSound(voice_wav, Fraction(0))
    assert sounds.original == AlignedSound(head_mp4, Fraction(0))


def test_sounds_of_a_silent_clip_are_none(head_mp4: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    run_ffmpeg("-i", str(head_mp4), "-an", "-c:v", "copy", str(silent))
    sounds = Comparison().sounds(silent, Fraction(0))
    assert sounds.sound is None
    assert Comparison(source=head_mp4).references(sounds) == {SOURCE}


def test_references_are_what_was_given(head_mp4: Path, voice_wav: Path) -> None:
    comparison = Comparison(truth=head_mp4, original=voice_wav)
    assert comparison.clips == {TRUTH}
    assert comparison.references(comparison.sounds(head_mp4, Fraction(0))) == {TRUTH, SOUND, ORIGINAL}


def test_frames_of_all_clips_are_matched_by_number(head_mp4: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    shutil.copy(head_mp4, other)
    with open_compared(head_mp4, Comparison(truth=other, source=other)) as clips:
        assert clips.total == 50
        frames = [next(clips.frames) for _ in range(3)]
    assert [item.result.index for item in frames] == [item.truth.index for item in frames] == [0, 1, 2]
    # One file is read once, though it is asked for twice.
    assert all(item.source is item.truth for item in frames)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("-frames:v", "30"), "differ in length"),
        (("-vf", "scale=320:240"), "is 320×240 and head.mp4 is 480×360"),
        (("-vf", "setpts=PTS/2", "-r", "50", "-frames:v", "50"), "has 50 frames per second"),
    ],
)
def test_clips_that_cannot_be_compared_are_refused(
    change: tuple[str, ...], words: str, head_mp4: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    run_ffmpeg("-i", str(head_mp4), "-an", *change, str(other))
    with pytest.raises(InputError, match=words), open_compared(head_mp4, Comparison(truth=other)):
        pass


def test_clips_of_unequal_length_are_trimmed_on_request(head_mp4: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    run_ffmpeg("-i", str(head_mp4), "-an", "-frames:v", "30", str(other))
    assert common_length(head_mp4, Comparison(truth=other, trim=True)) == 30
    assert common_length(head_mp4, Comparison()) is None
    assert common_length(head_mp4, Comparison(source=head_mp4)) is None
