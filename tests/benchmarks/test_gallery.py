"""The gallery's list and its errors, the sounds it makes, and a run over the samples."""

from __future__ import annotations

import wave
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import gallery, made_sounds
from benchmarks.gallery_list import HELD_OUT, ROOT, read_people
from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.evaluation.suite.results import compare, read_document

LIST = ROOT / "benchmarks" / "gallery.toml"
ONE = '[[entry]]\nname = "one"\nshows = "x"\nvideo = "seen.mp4"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("seen.mp4", "kept.mp4", "stray.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "clips.csv").write_text("path,split,speaker\nseen.mp4,train,a\nkept.mp4,val,b\n")
    return tmp_path


def people(folder: Path, text: str, only: str | None = None):
    path = folder / "list.toml"
    path.write_text(text)
    return read_people(path, folder, only)


def test_people_are_found_with_their_speakers(folder: Path) -> None:
    spoken = 'kind = "spoken"\nsound = "samples/german.flac"\nsound_start = 1\n'
    two = '[[entry]]\nname = "two"\nshows = "y"\nvideo = "samples/speaker.mp4"\n' + spoken
    found = people(folder, ONE.replace("seen", "kept") + two)
    assert [(one.speaker, one.split) for one in found] == [("b", "val"), ("", "")]
    assert found[0].video == folder / "kept.mp4" and found[0].sound is None
    assert found[1].video == ROOT / "samples/speaker.mp4" and found[1].sound == ROOT / "samples/german.flac"
    assert [one.entry.name for one in people(folder, ONE.replace("seen", "kept") + two, "two")] == ["two"]


def test_who_was_trained_on_must_be_said_to_be(folder: Path) -> None:
    with pytest.raises(InputError, match=r"split train.*held_out = false"):
        people(folder, ONE)
    assert people(folder, ONE + "held_out = false\n")[0].split == "train"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[entry]", "is not TOML"),
        ("", "no list of people"),
        ("entry = 3", "no list of people"),
        ("other = 1\n" + ONE, "no list of people"),
        (ONE + 'size = "big"\n', "Entry 1 .one. of list.toml: size: Extra.*Fields are name, shows"),
        (ONE + "seconds = 0\n", "seconds: .*greater than 0"),
        (ONE + "seconds = 60\n", "seconds: .*less than or equal to 10"),
        (ONE + 'kind = "whispered"\n', "kind: .*'own', 'spoken'"),
        (ONE + 'kind = "spoken"\n', "kind 'spoken' needs a sound"),
        (ONE + 'kind = "silence"\nsound = "seen.mp4"\n', "kind 'silence' wants no sound"),
        (ONE.replace('"one"', '"../one"'), "name: "),
        (ONE + "held_out = false\n" + ONE + "held_out = false\n", "two entries called 'one'"),
        (ONE.replace("seen", "none"), "one: there is no file .*none.mp4"),
        (ONE.replace("seen", "stray"), "clips.csv does not list stray.mp4"),
    ],
)
def test_what_is_no_list(text: str, words: str, folder: Path) -> None:
    with pytest.raises(InputError, match=words):
        people(folder, text)


def test_an_unknown_name_and_a_missing_table(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no entry 'on'\. Did you mean 'one'"):
        people(folder, ONE, "on")
    (folder / "clips.csv").unlink()
    with pytest.raises(InputError, match=r"no readable clips\.csv"):
        people(folder, ONE)
    with pytest.raises(InputError, match="cannot be read"):
        read_people(folder / "nowhere.toml", folder)


def test_sounds_are_as_long_as_asked_and_always_the_same(tmp_path: Path) -> None:
    song = made_sounds.sung(2.0)
    assert len(song) == 2 * made_sounds.RATE and 0.3 < np.abs(song).max() <= 1
    assert np.array_equal(song, made_sounds.sung(2.0))
    # A longer song begins like a shorter one but for its level, and closed lips are quieter than open ones.
    level = np.array([np.sqrt(np.mean(part**2)) for part in np.split(song[: 3 * 9600], 3 * 60)]).reshape(3, 60)
    assert (level[:, 20:50].mean(1) > 3 * level[:, 2:6].mean(1)).all()
    with wave.open(str(made_sounds.write_silence(tmp_path / "silence.wav", 0.5))) as sound:
        assert sound.getnframes() == made_sounds.RATE // 2 and not any(sound.readframes(10**6))


def test_shouting_is_louder_and_higher_and_as_long(tmp_path: Path) -> None:
    speech = ROOT / "samples" / "speech.wav"
    with wave.open(str(speech)) as sound:
        calm = np.frombuffer(sound.readframes(10**6), "<i2")[16_000:48_000] / 32768
    with wave.open(str(made_sounds.write_shouted(tmp_path / "shouted.wav", speech, 1.0, 2.0))) as sound:
        loud = np.frombuffer(sound.readframes(10**6), "<i2") / 32768
    assert abs(len(loud) / made_sounds.RATE - 2.0) < 0.1
    assert np.abs(loud).mean() > 2 * np.abs(calm).mean()
    assert np.abs(loud).max() > 0.99


@pytest.mark.clips
def test_the_list_names_ten_people_that_training_has_not_seen(clips: Path) -> None:
    found = read_people(LIST, clips)
    assert len({one.speaker for one in found if one.split in HELD_OUT and one.entry.held_out}) >= 10


def sample(name: str, video: str = "samples/speaker.mp4") -> str:
    return (
        f'[[entry]]\nname = "{name}"\nshows = "a sample – {name}"\nvideo = "{video}"\nkind = "{name}"\n'
        "start = 0.5\nseconds = 1\n"
    )


def test_nothing_is_written_when_a_file_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.toml").write_text(sample("sung") + sample("own", "samples/nobody.mp4"))
    command = [str(tmp_path), str(tmp_path / "list.toml"), "--out", str(tmp_path / "out")]
    assert gallery.main(command) == 3 and not (tmp_path / "out").exists()
    assert "own: there is no file" in capsys.readouterr().err


def test_a_gallery_of_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Faces given back as they were have the sharpness and the flicker of the source."""
    (tmp_path / "list.toml").write_text(sample("sung") + sample("own"))
    out, command = tmp_path / "out", [str(tmp_path), str(tmp_path / "list.toml"), "--model", "passthrough"]
    assert gallery.main([*command, "--out", str(out), "--only", "sung"]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "1 of 1: sung" in said.err and "0 of 25 dubbed" in said.err
    told = read_document(out / "gallery.json")
    assert [one["name"] for one in told["people"]] == ["sung"] and told["settings"]["model"] == "passthrough"
    (clip,) = told["clips"]
    assert clip["dub"]["passed_through"] == {"unchanged": 25}
    assert clip["score"]["metrics"]["sharpness_ratio"] == pytest.approx(1, abs=0.1)
    assert clip["score"]["metrics"]["flicker_ratio"] == pytest.approx(1, abs=0.15)
    assert all(item.difference.difference == 0 for item in compare(told, told))
    picture = cv2.imread(str(out / "gallery.png"))
    assert picture.shape[1] >= gallery.PAGE_COLUMNS * gallery.ROW_COLUMNS * gallery.ROW_PX
    page = (out / "gallery.html").read_text()
    assert page.count("data:image/jpeg;base64") == 1 and "a sample – sung" in page
    strip = cv2.imread(str(out / "people" / "sung.jpg"))
    assert strip.shape[0] > 4 * gallery.STRIP_PX + 2 * gallery.FRAME_PX


@pytest.mark.slow
def test_the_shipped_model_closes_the_mouth_of_a_sample(tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text(sample("silence"))
    command = [str(tmp_path), str(tmp_path / "list.toml"), "--preset", "realtime", "--out", str(tmp_path / "out")]
    assert gallery.main(command) == 0
    (clip,) = read_document(tmp_path / "out" / "gallery.json")["clips"]
    assert clip["dub"]["model"]["name"] == "lip-forcing-mini" and clip["dub"]["frames_dubbed"] == 25
    assert clip["score"]["metrics"]["csim"] > 0.9
