"""Chunks of a model with a frame rate of its own: any video's frames fall into them by their times."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.core.types import Frame, GeneratedCrop, ModelSpec, TrackedFrame
from lipsync_cli.dubbing.chunk_grid import chunk_end, frames_per_chunk, frames_to_begin
from lipsync_cli.dubbing.segments import hold_frames
from tests.dubbing.test_segments import Recorder, dubber, make_face, options


class Clocked(Recorder):
    """Chunks of nine, then twelve frames at 25 per second; wants the waveform."""

    def __init__(self) -> None:
        super().__init__(9, 12)
        self.times: list[list[Fraction]] = []
        self.heard: list[tuple[int, int]] = []

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(
            "clocked", "lower-face", 4, 9, 12, 0, Fraction(1, 5), Fraction(1, 10), audio="waveform", rate=Fraction(25)
        )

    def step(self, state, chunk):
        self.times.append(list(chunk.times))
        self.heard.append((chunk.wave.first, len(chunk.wave.samples)))
        assert chunk.mel.rows.shape == (0, 80)
        return [GeneratedCrop(np.ones((4, 4, 3), np.float32))] * len(chunk.crops)


def dub(stamps: list[Fraction]) -> Clocked:
    generator = Clocked()
    plane = np.zeros((4, 4), np.uint8)
    tracked = (
        TrackedFrame(Frame(i, int(t * 90_000), Fraction(1, 90_000), (plane,), "gray", np.zeros((4, 4, 3), np.uint8)),
                     0, (make_face(0),))
        for i, t in enumerate(stamps)
    )  # fmt: skip
    frames = [frame for _, frame in dubber(generator, options(reference_frames=25)).run(tracked)]
    assert [frame.index for frame in frames] == list(range(len(stamps)))
    return generator


def test_at_its_own_rate_chunks_are_nine_and_twelve_frames():
    generator = dub([Fraction(i, 25) for i in range(40)])
    assert [len(times) for times in generator.times] == [9, 12, 12, 7]
    assert generator.begun == [(0, 0)]


@pytest.mark.parametrize("rate", [(50, 1), (60, 1), (30000, 1001), (24, 1), (12, 1), (3, 1)])
def test_at_other_rates_frames_fall_into_the_chunks_of_their_time(rate):
    stamps = [i / Fraction(*rate) for i in range(int(4 * Fraction(*rate)))]
    chunk = np.digitize([float(25 * time) for time in stamps], [8 + 1 / 16 + 12 * k for k in range(9)], right=True)
    sizes = [int(count) for count in np.bincount(chunk) if count]
    assert [len(times) for times in dub(stamps).times] == sizes
    if rate == (50, 1):
        assert sizes[:3] == [17, 24, 24]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=5, max_size=60))
def test_however_frames_are_spaced_chunks_keep_to_the_clock(steps_ms):
    stamps = [Fraction(sum(steps_ms[:i]), 1000) for i in range(len(steps_ms))]
    generator = dub(stamps)
    assert sorted(time for times in generator.times for time in times) == stamps
    for times in generator.times:
        ends = {chunk_end(generator.spec, 25 * time) for time in times}
        assert len(ends) == 1
        assert (ends.pop() - 8) % 12 == 0


def test_times_rounded_to_milliseconds_are_still_on_the_clock():
    stamps = [Fraction(round(1000 * i / 25) + (i % 3 - 1), 1000) for i in range(1, 40)]
    assert [len(times) for times in dub(stamps).times] == [9, 12, 12, 6]


def test_the_waveform_covers_what_was_declared_and_no_more_than_exists():
    generator = dub([Fraction(i, 25) for i in range(110)])
    first, count = generator.heard[0]
    assert (first, count) == (0, round((8 / 25 + 0.1) * 16000))
    first, count = generator.heard[3]
    assert first == round((32 / 25 - 0.2) * 16000)
    assert first + count == round((44 / 25 + 0.1) * 16000)
    assert sum(generator.heard[-1]) == 64_000  # the track's end


def test_what_waits_follows_from_the_rates():
    spec = Clocked().spec
    assert frames_per_chunk(spec, Fraction(25)) == (9, 12)
    assert frames_per_chunk(spec, Fraction(60)) == (22, 29)
    assert frames_to_begin(spec, 25) == 5
    assert hold_frames(Clocked(), options(), Fraction(50)) >= 2 * 24
