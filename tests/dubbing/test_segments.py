"""Segments: every frame leaves once, in order, within the declared hold; chunks and fades are what they should be."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.audio.speech_track import SpeechTrack
from lipsync_cli.core.types import (
    Alignment,
    AudioSpan,
    Crop,
    Face,
    FaceState,
    Frame,
    GeneratedCrop,
    ModelSpec,
    TrackedFrame,
)
from lipsync_cli.dubbing.chunk_grid import MIN_SEGMENT_FRAMES
from lipsync_cli.dubbing.profiling import StageClock
from lipsync_cli.dubbing.segment_dubber import SegmentDubber
from lipsync_cli.dubbing.segments import SegmentOptions, hold_frames
from lipsync_cli.dubbing.statistics import FrameStatistics
from lipsync_cli.engines.passthrough import Passthrough
from lipsync_cli.engines.protocol import LipSyncModel

SIZE = 8
RATE = Fraction(25)


@dataclass
class Recorder(LipSyncModel):
    """A generator that paints every crop white and remembers how it was called."""

    first: int = 4
    rest: int = 4
    chunks: list[list[int]] = field(default_factory=list)
    begun: list[tuple[int, Fraction]] = field(default_factory=list)

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec("recorder", "lower-face", SIZE, self.first, self.rest, 3, Fraction(1, 5), Fraction(1, 5))

    def begin(self, references, start, *, seed):
        self.begun.append((len(references), start))
        self.chunks.append([])
        return len(self.chunks) - 1

    def step(self, state, chunk):
        self.chunks[state].append(len(chunk.crops))
        first, last = chunk.times[0], chunk.times[-1]
        assert chunk.mel.first <= (first - self.spec.audio_before_s) * 100
        assert chunk.mel.first + len(chunk.mel.rows) - 1 >= (last + self.spec.audio_after_s) * 100
        return [GeneratedCrop(np.ones((SIZE, SIZE, 3), np.float32))] * len(chunk.crops)


class Plane(np.ndarray):
    """An array that can be watched by a weak reference."""


def make_frame(index: int, pts: int | None = None) -> Frame:
    plane = np.zeros((4, 4), np.uint8).view(Plane)
    return Frame(index, index if pts is None else pts, 1 / RATE, (plane,), "gray", np.zeros((4, 4, 3), np.uint8))


def make_face(track: int, state: FaceState = FaceState.OK) -> Face:
    return Face(track, (0, 0, 4, 4), np.zeros((68, 2)), 1.0, 0.0, state)


def speech(level: float = 0.3) -> SpeechTrack:
    t = np.arange(16000 * 4) / 16000
    samples = (level * np.sin(2 * np.pi * 200 * t)).astype(np.float32)
    return SpeechTrack(iter([AudioSpan(samples[None], 16000, 0)]))


def options(**changes) -> SegmentOptions:
    values = {"reference_frames": 6, "fade_frames": 3, "silence": "model", "seed": 0}
    return SegmentOptions(**(values | changes))


def cut(frame: Frame, face: Face) -> Crop:
    return Crop(np.zeros((SIZE, SIZE, 3), np.uint8), Alignment(np.eye(2, 3), SIZE), np.zeros((68, 2)))


def dubber(generator=None, opts=None, track_speech=None, blend=lambda frame, patches: frame) -> SegmentDubber:
    return SegmentDubber(
        generator or Recorder(), track_speech or speech(), cut, blend, opts or options(), StageClock()
    )


def run(patterns, generator=None, opts=None, track_speech=None, shots=None, stamps=None, **threads):
    """Dub frames whose faces ``patterns`` lists (sets of track ids); gives each frame's index and patch weights."""
    out = []

    def blend(frame, patches):
        out.append((frame.index, [round(patch.weight, 4) for patch in patches]))
        return frame

    tracked = (
        TrackedFrame(
            make_frame(i, stamps and stamps[i]), shots[i] if shots else 0, tuple(make_face(t) for t in sorted(tracks))
        )
        for i, tracks in enumerate(patterns)
    )
    statistics = FrameStatistics()
    indices = []
    for slot, frame in dubber(generator, opts, track_speech, blend).run(tracked, **threads):
        statistics.add(slot, 1 / RATE)
        indices.append(frame.index)
    assert indices == list(range(len(patterns)))
    return out, statistics


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 2), max_size=3), max_size=60), st.integers(1, 12), st.integers(0, 6))
def test_every_frame_leaves_once_and_in_order(patterns, references, fade):
    out, statistics = run(patterns, opts=options(reference_frames=references, fade_frames=fade))
    assert [index for index, _ in out] == list(range(len(patterns)))
    assert statistics.frames == len(patterns)
    assert all(0 < weight <= 1 for _, weights in out for weight in weights)


def test_chunks_are_as_declared_and_only_the_last_is_short():
    generator = Recorder(first=5, rest=4)
    run([{0}] * 20, generator)
    assert generator.chunks == [[5, 4, 4, 4, 3]]
    assert generator.begun == [(6, Fraction(0))]


def test_a_gap_ends_a_segment_and_the_next_begins_afresh():
    generator = Recorder()
    out, statistics = run([{0}] * 10 + [set()] * 2 + [{0}] * 9, generator)
    assert [sum(chunks) for chunks in generator.chunks] == [10, 9]
    assert generator.begun[1] == (6, Fraction(12) / RATE)
    assert out[10] == (10, []) and out[11] == (11, [])
    assert statistics.passed_through() == {"missing": 2}


def test_fades_at_both_ends():
    out, _ = run([set()] + [{0}] * 12 + [set()])
    weights = [w[0] if w else 0 for _, w in out]
    assert weights == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]


def test_nothing_fades_where_the_video_begins_and_ends():
    out, _ = run([{0}] * 12)
    assert [weights for _, weights in out] == [[1]] * 12


def test_nothing_fades_at_a_shot_cut_but_within_the_shot():
    out, _ = run([{0}] * 8 + [{1}] * 8 + [set()], shots=[0] * 8 + [1] * 9)
    weights = [w[0] if w else 0 for _, w in out]
    assert weights == [1] * 13 + [0.75, 0.5, 0.25, 0]


def test_a_brief_appearance_is_left_alone():
    out, statistics = run([set()] * 3 + [{0}] * (MIN_SEGMENT_FRAMES - 1) + [set()] * 3)
    assert all(not weights for _, weights in out)
    assert statistics.passed_through() == {"missing": 6, "too-brief": MIN_SEGMENT_FRAMES - 1}


@given(st.lists(st.sets(st.integers(0, 1)), max_size=40), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=15)
def test_threads_change_nothing_but_the_time_it_takes(patterns, ahead, workers):
    plain, counted = run(patterns)
    threaded, statistics = run(patterns, ahead=ahead, workers=workers)
    assert sorted(threaded) == plain
    assert (statistics.spans, statistics.tracks()) == (counted.spans, counted.tracks())


def test_two_faces_are_dubbed_side_by_side():
    out, statistics = run([{0, 1}] * 12)
    assert all(len(weights) == 2 for _, weights in out)
    assert [entry.dubbed for entry in statistics.tracks()] == [12, 12]


def test_reasons_come_from_the_faces_state():
    states = [FaceState.PROFILE, FaceState.COVERED, FaceState.TOO_SMALL, FaceState.CUT_OFF, FaceState.NOT_CHOSEN]
    tracked = (TrackedFrame(make_frame(i), 0, (make_face(0, state),)) for i, state in enumerate(states))
    statistics = FrameStatistics()
    for slot, _ in dubber().run(tracked):
        statistics.add(slot, 1 / RATE)
    assert statistics.passed_through() == {str(state): 1 for state in sorted(states)}
    assert [span.reason for span in statistics.spans] == [str(state) for state in states]


def test_a_long_gap_between_frames_ends_the_segment():
    generator = Recorder()
    run([{0}] * 20, generator, stamps=[i + (125 if i >= 10 else 0) for i in range(20)])
    assert [sum(chunks) for chunks in generator.chunks] == [10, 10]


def test_silence_keep_shows_the_source_while_nobody_speaks():
    silent = SpeechTrack(iter([AudioSpan(np.zeros((1, 16000), np.float32), 16000, 0)]))
    out, statistics = run([{0}] * 12, opts=options(silence="keep"), track_speech=silent)
    assert all(not weights for _, weights in out)
    assert (statistics.dubbed, statistics.unchanged) == (0, 12)
    out, _ = run([{0}] * 12, opts=options(silence="keep"))
    assert out[6][1] == [1]


@pytest.mark.parametrize(("silence", "expected"), [("close", 1.0), ("model", 0.0)])
def test_the_generator_hears_of_silence_only_when_it_is_to_close(silence, expected):
    seen = []

    class Listener(Recorder):
        def step(self, state, chunk):
            seen.extend(chunk.silence.tolist())
            return super().step(state, chunk)

    quiet = SpeechTrack(iter([AudioSpan(np.zeros((1, 16000), np.float32), 16000, 0)]))
    run([{0}] * 12, Listener(), options(silence=silence), quiet)
    assert set(seen) == {expected}


def test_frame_that_the_model_left_alone_is_unchanged_and_not_dubbed():
    out, statistics = run([{0}] * 12 + [set()], Passthrough())
    assert all(not weights for _, weights in out)
    assert statistics.dubbed == 0
    assert statistics.passed_through() == {"missing": 1, "unchanged": 12}
    assert [entry.dubbed for entry in statistics.tracks()] == [0]
    assert [(span.reason, span.track) for span in statistics.spans] == [("unchanged", 0), ("missing", None)]


def test_frame_is_dubbed_where_one_of_its_faces_was_changed():
    class OnlyFirst(Recorder):
        def step(self, state, chunk):
            drawings = super().step(state, chunk)
            return drawings if state == 0 else [None] * len(drawings)

    _, statistics = run([{0, 1}] * 12, OnlyFirst())
    assert (statistics.dubbed, statistics.unchanged) == (12, 0)
    assert [entry.dubbed for entry in statistics.tracks()] == [12, 0]


@pytest.mark.parametrize("ahead", [0, 3])
def test_no_more_frames_are_alive_than_declared(ahead):
    alive: set[int] = set()
    most = 0

    def frames():
        for index in range(400):
            frame = make_frame(index)
            weakref.finalize(frame.planes[0], alive.discard, index)
            alive.add(index)
            yield TrackedFrame(frame, 0, (make_face(0),))
            del frame

    generator, opts = Recorder(), options(reference_frames=10)
    for _ in dubber(generator, opts).run(frames(), ahead=ahead, workers=2):
        gc.collect(0)
        most = max(most, len(alive))
    # One more is in the caller's hands and one in the source's; of those ahead one is about to be handed on.
    assert most <= hold_frames(generator, opts) + 2 + (ahead + 1 if ahead else 0)
