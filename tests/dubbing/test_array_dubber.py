"""Pictures in memory: as many come out as go in, exact where nothing is dubbed, in constant memory."""

from __future__ import annotations

import weakref
from itertools import count, islice

import numpy as np
import pytest

from lipsync_cli import InputError, NoFaceError, UsageError, dub, dub_frames
from lipsync_cli.media.probe import probe
from lipsync_cli.media.video import open_frames
from tests.helpers.grey_model import SOUND, grey_model, heads
from tests.helpers.threads import no_thread_left


def test_frames_come_back_as_many_and_in_order_and_changed_only_at_the_mouth() -> None:
    pictures = heads(30)
    results = list(dub_frames(iter(pictures), SOUND, rate=25, sample_rate=16_000, model=grey_model()))
    assert len(results) == 30
    for before, after in zip(pictures, results, strict=True):
        assert (after.dtype, after.shape, after.flags.c_contiguous) == (np.uint8, before.shape, True)
        changed = np.argwhere((before != after).any(-1))
        (top, left), (_, right) = changed.min(0), changed.max(0)
        assert top > 150 and left > 140 and right < 340
    assert max(np.abs(a.astype(int) - b.astype(int)).max() for a, b in zip(pictures, results, strict=True)) > 30


def test_frames_are_those_that_a_file_would_give(tmp_path) -> None:
    """The very same pipeline: a lossless RGB file dubbed to a lossless RGB file has the same pictures."""
    import av

    pictures = heads(15)
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))
    from lipsync_cli.synthetic import write_voice

    write_voice(tmp_path / "voice.wav", 2.0)
    options = {"model": grey_model(), "detect_every": 5}
    dub(tmp_path / "in.mkv", tmp_path / "voice.wav", tmp_path / "out.mkv", length="video", codec="ffv1", **options)
    results = list(dub_frames(pictures, SOUND, rate=25, sample_rate=16_000, **options))
    with open_frames(probe(tmp_path / "out.mkv")) as frames:
        for frame, result in zip(frames, results, strict=True):
            assert np.array_equal(frame.rgb, result)


def test_frames_without_a_face_come_back_equal() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (96, 130, 3), np.uint8) for _ in range(8)]
    results = list(dub_frames(pictures, SOUND, rate="30000/1001", sample_rate=16_000, model=grey_model()))
    assert all(np.array_equal(a, b) for a, b in zip(pictures, results, strict=True))
    assert list(dub_frames([], SOUND, rate=25, sample_rate=16_000, model=grey_model())) == []


def test_frames_may_be_overwritten_once_the_next_is_asked_for() -> None:
    pictures, buffer = heads(20), np.zeros_like(heads(1)[0])

    def reused():
        for picture in pictures:
            buffer[:] = picture
            yield buffer

    model = grey_model()
    expected = list(dub_frames(pictures, SOUND, rate=25, sample_rate=16_000, model=model))
    results = list(dub_frames(reused(), SOUND, rate=25, sample_rate=16_000, model=model))
    assert all(np.array_equal(a, b) for a, b in zip(expected, results, strict=True))


def test_frames_of_an_endless_source_are_held_by_the_dozen_and_closing_ends_the_threads() -> None:
    alive, most = set(), 0
    template = heads(1)[0]

    def endless():
        for index in count():
            picture = template.copy()
            alive.add(index)
            weakref.finalize(picture, alive.discard, index)
            yield picture
            del picture

    with no_thread_left():
        results = dub_frames(endless(), SOUND, rate=25, sample_rate=16_000, model=grey_model(), reference_frames=5)
        for _ in islice(results, 60):
            most = max(most, len(alive))
        results.close()
    assert most <= 4


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"frames": [np.zeros((8, 8), np.uint8)]}, InputError, r"uint8 RGB array .* got uint8 \[8, 8\]"),
        ({"frames": [np.zeros((8, 8, 3), np.float32)]}, InputError, "got float32"),
        ({"frames": ["a.png"]}, InputError, "got str"),
        ({"frames": [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)]}, InputError, "Frame 1 is 6×8"),
        ({"audio": np.zeros(100, np.int16)}, InputError, "floating-point"),
        ({"audio": np.zeros((1, 2, 3), np.float32)}, InputError, "floating-point"),
        ({"audio": []}, InputError, "sound is empty"),
        ({"rate": 0}, UsageError, "frame rate"),
        ({"rate": "fast"}, UsageError, "frame rate"),
        ({"rate": "1/0"}, UsageError, "frame rate"),
        ({"sample_rate": 0}, UsageError, "sample rate"),
        ({"crf": 20}, UsageError, "crf says how a file is written"),
        ({"face": "nobody"}, UsageError, "chooses no face"),
    ],
)
def test_frames_of_another_kind_are_refused(changes, error, words) -> None:
    values = {"frames": heads(8), "audio": SOUND, "rate": 25, "sample_rate": 16_000, "model": grey_model()}
    values |= changes
    with pytest.raises(error, match=words):
        list(dub_frames(values.pop("frames"), values.pop("audio"), **values))


def test_frames_in_which_the_chosen_person_never_comes_end_in_an_error() -> None:
    with pytest.raises(NoFaceError):
        list(dub_frames(heads(8), SOUND, rate=25, sample_rate=16_000, model=grey_model(), face="3"))
