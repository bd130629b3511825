"""What is chosen for training, and why the rest is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.training.dataset.av_lag import OUT_OF_SYNC, TOO_LATE, UNKNOWN, Lag, decide_lags
from lipsync_cli.training.dataset.filtering import DUPLICATE, ENOUGH, NO_ROOM, choose
from lipsync_cli.training.dataset.limits import Limits, load_limits
from lipsync_cli.training.dataset.quality import damage, differing_bits, picture_hash, sharpness, sound_hash
from lipsync_cli.training.dataset.segmenting import Cut, Stretch
from lipsync_cli.training.dataset.sources import Source, find_sources
from lipsync_cli.training.dataset.speakers import cluster_faces, split_speakers
from tests.helpers.prepared_folder import soft_noise

RNG = np.random.default_rng(0)


def a_curve(lag: int, depth: float = 0.4) -> list[float]:
    """The expert's distances for sound late by ``lag``."""
    return [0.6 - (depth if k - 15 == lag else 0.0) for k in range(31)]


def a_stretch(name: str, **changes) -> Stretch:
    rng = np.random.default_rng(list(name.encode()))
    values = dict(
        name=name, first=0, first_s=0.0, frames=75, source_scale=1.0, face_px=200.0, yaw=0.1, pitch=0.1, blur=80.0,
        jump=0.1, frozen=0.0, level_db=-25.0, picture=rng.bytes(24).hex(), sound=rng.bytes(58).hex(), bytes=100_000,
        sha256="",
    )  # fmt: skip
    return Stretch(**(values | changes))


def a_pair(
    name: str, *, speaker: str | None = "a", split: str | None = "train", lag: int | None = 0, cut=None, **more
):
    source = Source(f"clips/x/{name}.mp4", 3.0, split, speaker, "MIT", lag)
    values = {"frames": 75, "stretches": [a_stretch(name, **more)], "windows": 60, "curve": a_curve(lag or 0)}
    return source, Cut(source.path, **(values | (cut or {})))


def chosen(pairs, **options):
    values = {"crop_size": 192, "seconds_per_speaker": 100.0} | options
    return choose(pairs, Limits(), **values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"face_px": 40.0}, "face too small"),
        ({"yaw": 0.5}, "head turned"),
        ({"pitch": 0.5}, "head turned"),
        ({"blur": 2.0}, "blurred"),
        ({"jump": 0.9}, "damaged"),
        ({"frozen": 0.5}, "damaged"),
        ({"cut": {"damaged": True}}, "damaged"),
        ({"level_db": -80.0}, "silent"),
        ({"frames": 10}, "too short"),
    ],
)
def test_every_filter_counts_its_reason(change: dict, reason: str) -> None:
    choice = chosen([a_pair("good"), a_pair("bad", **change)])
    assert [record.path for record in choice.chosen] == ["clips/x/good.mp4"]
    assert choice.rejected == {reason: 1}


@pytest.mark.parametrize(
    ("listed", "heard", "windows", "depth", "expected"),
    [
        (2, 2, 60, 0.4, Lag(2, "csv", 0.4)),
        (2, 3, 60, 0.4, Lag(2, "csv", 0.0, OUT_OF_SYNC)),  # a frame apart is no contradiction, but seen as bad
        (2, -1, 60, 0.4, Lag(-1, "clip", 0.4)),  # the expert is sure and disagrees
        (-12, 1, 60, 0.4, Lag(1, "clip", 0.4)),  # a listed lag that is a failed measurement
        (None, -3, 60, 0.4, Lag(-3, "clip", 0.4)),
        (None, 9, 60, 0.4, Lag(9, "clip", 0.4, TOO_LATE)),
        (None, 1, 60, 0.05, Lag(rejected=UNKNOWN)),
        (None, 1, 15, 0.4, Lag(rejected=UNKNOWN)),
        (1, 1, 15, 0.4, Lag(1, "csv", 0.4)),
    ],
)
def test_a_lag_is_listed_heard_or_unknown(listed, heard, windows, depth, expected) -> None:
    pair = a_pair("one", lag=listed, cut={"windows": windows, "curve": a_curve(heard, depth)})
    lag = decide_lags([pair], Limits())[pair[0].path]
    assert (lag.frames, lag.origin, lag.rejected) == (expected.frames, expected.origin, expected.rejected)
    assert lag.confidence == (None if expected.confidence is None else pytest.approx(expected.confidence, abs=1e-6))


def test_short_clips_of_a_folder_are_heard_together() -> None:
    rng = np.random.default_rng(1)
    pairs = []
    for number in range(20):
        noisy = (np.array(a_curve(1, 0.35)) + rng.normal(0, 0.12, 31)).tolist()
        pairs.append(a_pair(f"{number}", lag=None, cut={"windows": 15, "curve": noisy}))
    lags = decide_lags(pairs, Limits())
    assert {(lag.frames, lag.origin) for lag in lags.values()} == {(1, "folder")}
    assert all(lag.rejected == UNKNOWN for lag in decide_lags(pairs[:3], Limits()).values()), "too few windows"


def test_of_copies_the_held_out_or_the_largest_is_kept() -> None:
    twin = {"picture": "ab" * 24, "sound": "cd" * 58}
    pairs = [a_pair("small", face_px=90.0, **twin), a_pair("large", face_px=300.0, **twin)]
    choice = chosen(pairs)
    assert [r.path for r in choice.chosen] == ["clips/x/large.mp4"] and choice.rejected == {DUPLICATE: 1}
    held = a_pair("held", speaker="t", split="test", face_px=80.0, **twin)
    assert [r.path for r in chosen([*pairs, held]).chosen] == ["clips/x/held.mp4"]
    other_words = a_pair("words", picture=twin["picture"])
    assert len(chosen([pairs[0], other_words]).chosen) == 2, "the same face saying something else is no copy"


def test_a_speaker_gives_so_much_and_no_more() -> None:
    pairs = [a_pair(f"{n}") for n in range(6)] + [a_pair("b", speaker="b")]
    choice = chosen(pairs, seconds_per_speaker=7.0)
    assert sorted(r.speaker for r in choice.chosen) == ["a", "a", "a", "b"]
    assert choice.rejected == {ENOUGH: 3} and choice.chosen == chosen(pairs[::-1], seconds_per_speaker=7.0).chosen


def test_a_size_is_kept_and_shared_among_speakers() -> None:
    pairs = [a_pair(f"a{n}") for n in range(30)]
    pairs += [a_pair(f"{who}{n}", speaker=who) for who in "bc" for n in range(4)]
    pairs += [a_pair(f"v{n}", speaker="v", split="val") for n in range(9)]
    choice = chosen(pairs, max_bytes=1_250_000)
    assert sum(record.bytes for record in choice.chosen) <= 1_250_000
    counts = {who: sum(r.speaker == who for r in choice.chosen) for who in "abcv"}
    assert counts == {"a": 4, "b": 4, "c": 3, "v": 1}, "held-out speakers get a tenth"
    assert choice.rejected[NO_ROOM] == len(pairs) - 12


def test_faces_become_speakers_and_speakers_splits() -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(0, 0.12, (3, 128))
    faces = {f"{p}-{n}": (people[p] + rng.normal(0, 0.015, 128)).tolist() for p in range(3) for n in range(4)}
    speakers = cluster_faces(faces)
    groups = {p: {speakers[path] for path in faces if path.startswith(str(p))} for p in range(3)}
    assert all(len(names) == 1 for names in groups.values()) and len(set.union(*groups.values())) == 3
    pairs = [a_pair(path, speaker=None, split=None, cut={"face": face}) for path, face in faces.items()]
    assert len({r.speaker for r in chosen(pairs).chosen}) == 3
    unseen = a_pair("nobody", speaker=None, split=None)
    assert chosen([unseen]).rejected == {"speaker unknown": 1}


def test_splits_are_by_name_alone() -> None:
    names = [f"speaker {n}" for n in range(300)]
    splits = split_speakers(names)
    shares = [list(splits.values()).count(split) / 300 for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.82, 0.08, 0.10], abs=0.05)
    more = split_speakers([*names, *(f"later {n}" for n in range(50))])
    assert all(more[name] == splits[name] for name in names)
    assert set(split_speakers("abcd").values()) == {"train", "val", "test"}
    assert set(split_speakers("abc").values()) == {"train"}, "too few to hold anybody out"


def test_sharpness_is_judged_at_the_sources_scale() -> None:
    import cv2

    sharp = RNG.integers(0, 256, (6, 96, 96, 3), dtype=np.uint8)
    enlarged = np.stack([cv2.resize(p, (192, 192), interpolation=cv2.INTER_LINEAR) for p in sharp])
    blurred = np.stack([cv2.GaussianBlur(p, (0, 0), 2.5) for p in sharp])
    assert sharpness(enlarged, 0.5) > 20 * sharpness(blurred, 1.0)
    assert sharpness(enlarged, 0.5) > 4 * sharpness(enlarged, 1.0)


def test_damage_is_jumping_blocks_and_repeated_frames() -> None:
    still = np.repeat(soft_noise(1, 96, np.random.default_rng(0)), 20, 0)
    moving = np.stack([np.roll(frame, k % 2, 1) for k, frame in enumerate(still)])
    assert damage(moving).jump < 0.1 and damage(moving).frozen == 0
    assert damage(still).frozen == 1
    broken = moving.copy()
    broken[7, 40:] = 128
    assert damage(broken).jump > 0.2


def test_fingerprints_know_a_copy_from_another() -> None:
    rng = np.random.default_rng(0)
    crops, mel = soft_noise(9, 192, rng), rng.normal(0, 1, (120, 80)).astype(np.float32)
    picture, sound = picture_hash(crops), sound_hash(mel)
    noisy = (crops.astype(int) + rng.integers(-6, 7, crops.shape)).clip(0, 255).astype(np.uint8)
    copies = (
        differing_bits(picture, picture_hash(noisy)[None]),
        differing_bits(sound, sound_hash(mel * 0.9 + 0.2)[None]),
    )
    assert copies[0][0] < 0.05 and copies[1][0] < 0.05
    others = picture_hash(soft_noise(9, 192, rng)), sound_hash(rng.normal(0, 1, (120, 80)).astype(np.float32))
    assert differing_bits(picture, others[0][None])[0] > 0.3 and differing_bits(sound, others[1][None])[0] > 0.3


def test_clips_are_listed_capped_and_checked(tmp_path: Path) -> None:
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


def test_a_folder_without_a_list_is_searched(tmp_path: Path) -> None:
    for name in ("anna/1.mp4", "anna/2.MOV", "bob/take/1.mkv", "loose.webm", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    speakers = {source.path: source.speaker for source in find_sources(tmp_path, seconds_per_speaker=5)}
    assert speakers == {"anna/1.mp4": "anna", "anna/2.MOV": "anna", "bob/take/1.mkv": "bob/take", "loose.webm": None}
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no clips"):
        find_sources(empty, seconds_per_speaker=5)


def test_limits_come_from_a_file_and_name_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text("yaw = 0.2\n")
    assert load_limits(path) == replace(Limits(), yaw=0.2)
    path.write_text("yawn = 0.2\n")
    with pytest.raises(UsageError, match="wrong at yawn"):
        load_limits(path)
    path.write_text("lag = 20\n")
    with pytest.raises(UsageError, match="beyond lag"):
        load_limits(path)
