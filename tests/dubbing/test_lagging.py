"""Generators that look ahead at pictures: drawings come late, and to the right frames all the same."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.core.types import GeneratedCrop, TrackedFrame
from lipsync_cli.dubbing.segments import hold_frames
from tests.dubbing.test_segments import RATE, SIZE, Recorder, dubber, make_face, make_frame, options, run


@dataclass
class Late(Recorder):
    """Answers every crop ``lag`` crops later with a drawing of its time's number; forgets ``lost`` in the end."""

    lag: int = 3
    lost: int = 0

    @property
    def spec(self):
        return replace(super().spec, lag_frames=self.lag)

    def begin(self, references, start, *, seed):
        super().begin(references, start, seed=seed)
        return []

    def step(self, state, chunk):
        state.extend(round(time * RATE) for time in chunk.times)
        ready, state[:] = state[: max(0, len(state) - self.lag)], state[max(0, len(state) - self.lag) :]
        return [self.drawn(number) for number in ready]

    def finish(self, state):
        return [self.drawn(number) for number in state[self.lost :]]

    @staticmethod
    def drawn(number: int) -> GeneratedCrop:
        return GeneratedCrop(np.full((SIZE, SIZE, 3), number, np.float32))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 5), st.integers(5, 60))
def test_every_frame_gets_its_own_drawing_however_late(chunk, lag, fade, frames):
    numbers = {}

    def blend(frame, patches):
        numbers[frame.index] = [float(patch.drawing.rgb[0, 0, 0]) for patch in patches]
        return frame

    generator = Late(chunk + lag, chunk, lag=lag)
    tracked = (TrackedFrame(make_frame(i), 0, (make_face(0),)) for i in range(frames))
    opts = options(fade_frames=fade)
    out = dubber(generator, opts, blend=blend).run(tracked)
    assert [frame.index for _, frame in out] == list(range(frames))
    assert numbers == {i: [float(i)] for i in range(frames)}


def test_fades_are_those_of_a_generator_that_answers_at_once():
    patterns = [set()] * 2 + [{0}] * 14 + [set()] * 3
    assert run(patterns, Late(4, 4))[0] == run(patterns, Recorder())[0]


def test_no_more_frames_are_held_than_declared():
    alive, most = set(), 0

    def frames():
        for index in range(150):
            frame = make_frame(index)
            weakref.finalize(frame.planes[0], alive.discard, index)
            alive.add(index)
            yield TrackedFrame(frame, 0, (make_face(0),))
            del frame

    generator, opts = Late(12, 8, lag=4), options(reference_frames=6)
    for _ in dubber(generator, opts).run(frames()):
        gc.collect(0)
        most = max(most, len(alive))
    assert 12 <= most <= hold_frames(generator, opts) + 2


def test_drawings_that_never_come_are_an_error():
    with pytest.raises(RuntimeError, match="no drawings for 2 crops"):
        run([{0}] * 20, Late(4, 4, lost=2))
